"""Heartbeats of the processes that trade: who is there, and whose windows it runs.

Every process that trades writes its heartbeat each BEAT_SECONDS, and at once when its windows change. The time in it
is Redis's, so ages do not depend on the clocks of the machines.
"""

from collections.abc import Mapping

from pydantic import ConfigDict

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, hash_of, script
from tasks.base.tally import Batch
from tasks.exchange.models import Frozen

BEAT_SECONDS = 5.0
_FORGET_MS = 600_000
_NO_COUNTS = Batch(0, {})


def dead_after_ms(lease_ms: int) -> int:
    """The age at which a heartbeat counts as dead: the lease, and at least two beats."""
    return max(lease_ms, int(2 * BEAT_SECONDS * 1000))


class _Record(Frozen):
    """Base of the records of a heartbeat. Unknown fields are ignored: a later version of the program may write more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class HeldWindow(_Record):
    """A window that a worker runs: of a Prefect run, or its own because Prefect handed none out."""

    symbol: str
    own: bool = False
    since_ms: int
    run: str = ""  # id of the Prefect run; '' for an own one


class Heartbeat(_Record):
    """What a worker says about itself."""

    worker: str  # id of the process
    name: str = ""  # at the Prefect server; '' in a process that is no Prefect worker
    version: str
    host: str
    pid: int
    started_ms: int
    at_ms: int = 0  # when it was written, by Redis's clock
    lag_ms: int = 0  # longest delay of the trading loop since the heartbeat before
    guards: bool = False  # runs windows that Prefect does not hand out
    draining: bool = False  # takes no more windows
    prefect_away_since_ms: int | None = None  # since when the Prefect server has not answered this worker
    windows: tuple[HeldWindow, ...] = ()
    runs: tuple[str, ...] = ()  # ids of the Prefect runs that it has taken and not finished
    counted: int = 0  # sequence of the newest batch of its counts that was added to the account's


class Workers(Frozen):
    """All heartbeats, and Redis's time when they were read."""

    now_ms: int
    heartbeats: tuple[Heartbeat, ...] = ()

    def living(self, ms: int) -> tuple[Heartbeat, ...]:
        """The workers whose heartbeat is not older than `ms`, by id."""
        return tuple(each for each in self.heartbeats if self.now_ms - each.at_ms <= ms)


def parsed_workers(now_ms: int, stored: Mapping[str, str]) -> Workers:
    """The heartbeats in the hash `Keys.workers`; unreadable ones, of a later version, are left out."""
    found = [_parsed(text) for _, text in sorted(stored.items())]
    return Workers(now_ms=now_ms, heartbeats=tuple(each for each in found if each is not None))


def _parsed(text: str) -> Heartbeat | None:
    at_ms, _, body = text.partition(" ")
    try:
        return Heartbeat.model_validate_json(body).model_copy(update={"at_ms": int(at_ms)})
    except ValueError:
        return None


async def beat(redis: RedisClient, *, keys: Keys, heartbeat: Heartbeat, counts: Batch = _NO_COUNTS) -> Workers:
    """Write this worker's heartbeat, and add its counts to the account's. Returns the heartbeats of all workers."""
    body = heartbeat.model_copy(update={"counted": counts.sequence}).model_dump_json(exclude={"at_ms"})
    return await _beat(redis, keys, heartbeat.worker, body, counts)


async def end_beating(redis: RedisClient, *, keys: Keys, worker: str, counts: Batch = _NO_COUNTS) -> None:
    """Remove the heartbeat of a worker that ends in order: others then need not wait until it counts as dead."""
    await _beat(redis, keys, worker, "", counts)


async def _beat(redis: RedisClient, keys: Keys, worker: str, body: str, counts: Batch) -> Workers:
    names = [keys.workers, keys.counters]
    flat_counts = [part for pair in counts.counts.items() for part in pair]
    args = [worker, body, _FORGET_MS, counts.sequence, *flat_counts]
    now_ms, flat = await script(redis, "tasks.tick", "beat")(keys=names, args=args)
    return parsed_workers(int(now_ms), hash_of(flat))


async def read_workers(redis: RedisClient, keys: Keys) -> Workers:
    """The heartbeats of all workers, in one round trip."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hgetall(keys.workers)
        (seconds, micros), stored = await pipe.execute()
    return parsed_workers(int(seconds) * 1000 + int(micros) // 1000, stored)
