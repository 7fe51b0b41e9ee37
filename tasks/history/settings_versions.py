"""Settings that were in force, read back from the history where Redis has lost them."""

import json
import logging

from sqlalchemy import select

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.history import tables
from tasks.history.database import Database
from tasks.settings.in_force import put_back
from tasks.settings.model import Settings
from tasks.settings.places import Values

log = logging.getLogger(__name__)


async def newest_settings(database: Database, account: str) -> tuple[Values, int]:
    """The settings that were put in force last, and their version; {} and 0 for none. Raises HistoryUnavailable."""
    table = tables.SETTINGS.c
    asked = select(table.body, table.version).where(table.account == account)
    async with database.connection() as connection:
        row = (await connection.execute(asked.order_by(table.at_ms.desc(), table.version.desc()).limit(1))).first()
    return (json.loads(row.body), int(row.version)) if row is not None else ({}, 0)


async def restore_settings(redis: RedisClient, database: Database, own: Settings) -> int:
    """Put back in force what was in force last, where Redis holds no settings; the version, 0 for none.

    A worker's own file may be older than what an operator published. `own`: settings of this process. Settings that it
    cannot trade by are named in the log and not put back. Safe to run twice. Raises HistoryUnavailable.
    """
    if await redis.hexists(Keys(own.account).settings, "version"):
        return 0
    body, version = await newest_settings(database, own.account)
    if not version:
        return 0
    refused = await put_back(redis, own, body, version)
    facts = {"version": version}
    if refused:
        log.warning(
            "the settings of the history are not put back: this worker's are used", extra=facts | {"why": refused}
        )
        return 0
    await redis.hset(Keys(own.account).history, "restored_settings", str(version))
    log.warning("Redis was lost: settings in force restored from the history", extra=facts)
    return version
