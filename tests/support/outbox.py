"""What a test finds in the outbox, as long as no archiver has read it."""

from typing import Any

from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Fill
from tasks.orders.models import Intent
from tasks.views.line_models import EquityPoint


async def bodies(redis: RedisClient, keys: Keys, kind: RecordKind) -> list[str]:
    """The bodies of the records of one kind, oldest first."""
    entries: Any = await redis.xrange(keys.outbox)
    return [str(entry["body"]) for _, entry in entries if entry["kind"] == kind]


async def booked_fills(redis: RedisClient, keys: Keys, symbol: str) -> list[Fill]:
    """Every fill of the symbol, oldest first; one that a recovery booked again counts once."""
    fills = map(Fill.model_validate_json, await bodies(redis, keys, RecordKind.FILL))
    return list({fill.trade_id: fill for fill in fills if fill.symbol == symbol}.values())


async def ended_orders(redis: RedisClient, keys: Keys, symbol: str) -> list[Intent]:
    """Every order of the symbol that has ended, oldest first."""
    orders = map(Intent.model_validate_json, await bodies(redis, keys, RecordKind.ORDER))
    return [order for order in orders if order.symbol == symbol and order.state.ended]


async def equity_points(redis: RedisClient, keys: Keys) -> list[EquityPoint]:
    """Every point of the equity curve, oldest first."""
    texts = await bodies(redis, keys, RecordKind.EQUITY)
    return [EquityPoint.model_validate_json(text, extra="ignore") for text in texts]
