"""Flags, moved money and operators' actions go straight to the database: a command answers once they are durable."""

import asyncio
import logging
from typing import Any

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind
from tasks.base.redis_client import RedisClient
from tasks.history import outbox
from tasks.history.database import Database, HistoryUnavailable
from tasks.history.rows import batch_of
from tasks.history.store import write

log = logging.getLogger(__name__)
_KINDS = (RecordKind.FLAG, RecordKind.ACTION, RecordKind.CAPITAL)
_NEWEST = 500  # records among which those of a command are: they were appended a moment ago


async def write_now(redis: RedisClient, keys: Keys, database: Database, seconds: float) -> bool:
    """Write the newest flags, movements of money and actions into the database; whether it has them within that time.

    They stay in the outbox: the archiver finds them in the database and deletes them. Where the account's archiver
    writes to another file, which is another host's, it is waited for.
    """
    place = await redis.hget(keys.history, "place")
    if place not in (None, database.identity):
        return await outbox.is_archived(redis, keys, seconds)
    entries: Any = await redis.xrevrange(keys.outbox, count=_NEWEST)
    wanted = [record for record in outbox.records_of(entries[::-1]) if record.kind in _KINDS]
    if not wanted:
        return True  # the archiver was faster: it deletes only what the database has
    try:
        async with asyncio.timeout(seconds):
            await database.open()
            async with database.begin() as connection:
                await write(connection, keys.account, batch_of(wanted))
    except (TimeoutError, HistoryUnavailable, StateError) as error:
        log.warning("not yet in the history", extra={"error": str(error) or type(error).__name__})
        return False
    return True
