"""Why a symbol's newest tick failed, for the views."""

import logging

from redis.exceptions import RedisError

from tasks.base.clock import to_ms
from tasks.tick.desk import Desk
from tasks.tick.models import TickFailure

log = logging.getLogger(__name__)


async def store_failure(desk: Desk, symbol: str, error: str, *, unlisted: bool = False) -> None:
    """Store it. `unlisted`: the exchange does not list the symbol. Where Redis does not answer, only the log has it."""
    if unlisted:
        desk.markets.unlisted.add(symbol)
    failure = TickFailure(at_ms=to_ms(desk.clock()), error=error, unlisted=unlisted)
    try:
        await desk.redis.hset(desk.keys.stats, f"error|{symbol}", failure.model_dump_json())
    except RedisError as unstored:
        log.warning("the failed tick was not stored", extra={"symbol": symbol, "error": str(unstored)})
