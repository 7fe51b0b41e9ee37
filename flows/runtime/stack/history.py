"""A stack and its history: at the start, whether its paper market is still there; at the end, what still waits in
Redis goes into the database.
"""

from pathlib import Path

from redis.exceptions import RedisError

from flows.runtime.stack.supervisor import Say
from tasks.base.errors import StackError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings
from tasks.tick.trading_mode import is_live

_DRAIN_SECONDS = 20.0


async def check_market(settings: Settings, redis: RedisClient, folder: Path, new_market: bool) -> None:
    """Raise StackError where the paper market was lost with Redis, unless a new one may begin."""
    from tasks.history.database import Database, HistoryUnavailable, history_url  # imports the database's libraries
    from tasks.history.recovery import allow_new_market, ended_market

    keys, database = Keys(settings.account), Database(history_url(settings, folder))
    try:
        why = "" if is_live(settings) else await ended_market(redis, keys, database)
    except HistoryUnavailable as error:
        raise StackError(f"whether the paper market was lost is not known: {error}") from None
    finally:
        await database.close()
    if why and not new_market:
        raise StackError(why)
    if why:
        await allow_new_market(redis, keys)


async def drain_history(settings: Settings, redis: RedisClient, folder: Path, say: Say) -> None:
    """Archive what waits, for at most 20 s, and print what is left."""
    from tasks.history.archiver import Archiver  # imports the database's libraries
    from tasks.history.database import Database, history_url

    database = Database(history_url(settings, folder))
    archiver = Archiver(redis, Keys(settings.account), database, settings.history.outbox_mb)
    try:
        left = await archiver.drain(_DRAIN_SECONDS)
    except (RedisError, OSError) as error:
        say(f"Redis does not answer, so records may wait for the history: {error or type(error).__name__}")
        return
    finally:
        await archiver.close()
    if left:
        say(f"{left} records are not in the history ({database.place}) yet. They wait in Redis for the next start")
