"""What the Prefect server last said about the account: workers write it, workers and views read it."""

from collections.abc import Sequence

from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Frozen


class PrefectRecord(Frozen):
    """Pauses by an operator in Prefect, and limits that keep windows waiting."""

    at_ms: int  # when the server said so
    pool_paused: bool = False  # the work pool, or every queue of it
    paused: tuple[str, ...] = ()  # symbols whose deployment or schedule is switched off
    limit: int | None = None  # the lowest concurrency limit of the pool and its queue
    needed: int = 0  # runs that take place at the same time

    def is_paused(self, symbol: str) -> bool:
        """Whether an operator paused the symbol's windows in Prefect."""
        return self.pool_paused or symbol in self.paused

    @property
    def limit_note(self) -> str:
        """What to say about a limit that is too low; '' where it suffices."""
        if self.limit is None or self.limit >= self.needed:
            return ""
        return (
            f"The work pool in Prefect runs at most {self.limit} runs at once, but {self.needed} are needed. "
            "Raise its concurrency limit; until then workers run the other windows themselves"
        )


def parsed_record(text: str | None) -> PrefectRecord | None:
    """The stored record; None where there is none, or one of a later version."""
    if not text:
        return None
    try:
        return PrefectRecord.model_validate_json(text)
    except ValueError:
        return None


async def read_record(redis: RedisClient, keys: Keys) -> PrefectRecord | None:
    """What the Prefect server last said; None where nobody has asked it yet."""
    text = await redis.get(keys.prefect)
    return parsed_record(str(text) if text else None)


async def write_record(redis: RedisClient, keys: Keys, record: PrefectRecord) -> None:
    """Store what the Prefect server says now."""
    await redis.set(keys.prefect, record.model_dump_json())


async def read_retention(redis: RedisClient, keys: Keys) -> int | None:
    """Days for which ended runs stay at the Prefect server; None where workers delete none."""
    text = await redis.get(keys.retention)
    return int(text) if text else None


async def write_retention(redis: RedisClient, keys: Keys, days: int) -> None:
    """Have workers delete runs from the Prefect server that ended more than `days` ago."""
    await redis.set(keys.retention, days)


async def publish_mended(redis: RedisClient, keys: Keys, mended: Sequence[str]) -> None:
    """Tell what a worker restored at the Prefect server."""
    await publish_event(redis, keys, EventKind.DEPLOYMENTS_MENDED, {"mended": list(mended)})
