"""Flags that operators set, read back from the history where Redis has lost them."""

import logging
from typing import NamedTuple

from sqlalchemy import select

from tasks.base.clock import Clock, to_ms
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.history import tables
from tasks.history.database import Database

log = logging.getLogger(__name__)


class Flag(NamedTuple):
    """A flag in its newest state. `scope`: a symbol, or '' for the pot. `value`: 0, 1, or the stop that fired."""

    scope: str
    name: str
    value: int

    @property
    def text(self) -> str:
        """`stopped`, `BTC/USDT paused`."""
        return f"{self.scope} {self.name}".strip()


async def read_flags(database: Database, account: str) -> list[Flag]:
    """Every flag that was ever set. Raises HistoryUnavailable."""
    flags = tables.FLAGS.c
    asked = select(flags.scope, flags.flag, flags.value).where(flags.account == account)
    async with database.connection() as connection:
        rows = await connection.execute(asked.order_by(flags.scope, flags.flag))
        return [Flag(str(scope), str(name), int(value)) for scope, name, value in rows]


async def restore_flags(redis: RedisClient, keys: Keys, database: Database, clock: Clock) -> list[str]:
    """Set the stop and the pauses that were in force; their names. The books are not open yet, so nothing trades.

    Raises HistoryUnavailable where the database does not answer: it is then unknown whether trading is stopped.
    """
    found = [flag for flag in await read_flags(database, keys.account) if flag.value]
    if not found:
        return []
    names = [flag.text for flag in found]
    async with redis.pipeline(transaction=True) as pipe:
        for flag in found:
            pipe.hset(keys.funds_symbol(flag.scope) if flag.scope else keys.funds, flag.name, flag.value)
        pipe.hset(keys.history, mapping={"restored_ms": to_ms(clock()), "restored": ", ".join(names)})
        await pipe.execute()
    log.warning("Redis was lost: flags restored from the history", extra={"flags": names})
    await publish_event(redis, keys, EventKind.FLAGS_RESTORED, names)
    return names
