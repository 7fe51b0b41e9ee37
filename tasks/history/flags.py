"""Flags that operators set, read back from the history where Redis has lost them."""

import logging

from sqlalchemy import select

from tasks.base.clock import Clock, to_ms
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.history import tables
from tasks.history.database import Database

log = logging.getLogger(__name__)


async def restore_flags(redis: RedisClient, keys: Keys, database: Database, clock: Clock) -> list[str]:
    """Set the stop and the pauses that were in force; their names. The books are not open yet, so nothing trades.

    Raises HistoryUnavailable where the database does not answer: it is then unknown whether trading is stopped.
    """
    flags = tables.FLAGS.c
    asked = select(flags.scope, flags.flag).where(flags.account == keys.account, flags.value == 1)
    async with database.connection() as connection:
        found = [(str(scope), str(flag)) for scope, flag in await connection.execute(asked.order_by(*flags))]
    if not found:
        return []
    names = [f"{scope} {flag}".strip() for scope, flag in found]
    async with redis.pipeline(transaction=True) as pipe:
        for scope, flag in found:
            pipe.hset(keys.funds_symbol(scope) if scope else keys.funds, flag, 1)
        pipe.hset(keys.history, mapping={"restored_ms": to_ms(clock()), "restored": ", ".join(names)})
        await pipe.execute()
    log.warning("Redis was lost: flags restored from the history", extra={"flags": names})
    await publish_event(redis, keys, EventKind.FLAGS_RESTORED, names)
    return names
