"""Reads which symbols need windows, and who runs them now."""

from collections.abc import Callable

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Frozen
from tasks.tick.active_symbols import active_symbols
from tasks.tick.desk import Desk
from tasks.tick.heartbeat import Heartbeat, Workers, dead_after_ms, parsed_workers
from tasks.tick.prefect_record import PrefectRecord, parsed_record


class Coverage(Frozen):
    """One look at an account: the symbols that need windows, the workers, the leases, and Prefect's last word."""

    symbols: tuple[str, ...]
    workers: Workers
    lease_ms: int
    leased: frozenset[str] = frozenset()  # symbols whose lease somebody holds
    record: PrefectRecord | None = None

    @property
    def living(self) -> tuple[Heartbeat, ...]:
        """The workers that are alive."""
        return self.workers.living(dead_after_ms(self.lease_ms))


async def read_coverage(desk: Desk, mine: Callable[[], Heartbeat]) -> Coverage:
    """Look now. `mine`: this process's own heartbeat, which is newer than the stored one.

    Loads the settings in force where they changed: a worker without a window would not see new symbols.
    """
    symbols = await active_symbols(desk)
    coverage, version = await _read(desk.redis, desk.keys, symbols, desk.lease_ms)
    if version not in (0, desk.settings_version):
        await desk.follow_settings()
    own = mine().model_copy(update={"at_ms": coverage.workers.now_ms})
    others = [each for each in coverage.workers.heartbeats if each.worker != own.worker]
    workers = coverage.workers.model_copy(update={"heartbeats": (*others, own)})
    return coverage.model_copy(update={"workers": workers})


async def _read(redis: RedisClient, keys: Keys, symbols: list[str], lease_ms: int) -> tuple[Coverage, int]:
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hgetall(keys.workers)
        pipe.get(keys.prefect)
        pipe.hget(keys.settings, "version")
        for symbol in symbols:
            pipe.exists(keys.lease(symbol))
        (seconds, micros), stored, record, version, *leases = await pipe.execute()
    coverage = Coverage(
        symbols=tuple(symbols),
        workers=parsed_workers(int(seconds) * 1000 + int(micros) // 1000, stored),
        lease_ms=lease_ms,
        leased=frozenset(symbol for symbol, is_held in zip(symbols, leases, strict=True) if is_held),
        record=parsed_record(record),
    )
    return coverage, int(version or 0)
