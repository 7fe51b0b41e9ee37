"""The end of a stack: what still waits in Redis goes into the history database."""

from pathlib import Path

from redis.exceptions import RedisError

from flows.runtime.stack.supervisor import Say
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings

_DRAIN_SECONDS = 20.0


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
