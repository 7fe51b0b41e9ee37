"""Whatever happens to a worker, to Prefect or to what is in it: how long no symbol is ticked, in virtual time.

Two workers with the program's own guards, windows, leases and heartbeats, and a model of Prefect. `pytest -s` prints
the longest times. What the real server does with deployments, pools and runs is in test_without_prefect.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from tests.support.virtual.crew import SYMBOLS, WINDOW, ModelPrefect, Ticks, VirtualWorker, idle_desk
from tests.support.virtual.loop import run_virtually, virtual_clock
from tests.support.virtual.redis import VirtualRedis, virtual_redis

BTC = SYMBOLS[0]
BEGIN, LONG = 45.0, 65.0
FAILOVER, HANDOVER, PREFECT_ALONE = 15.0, 8.0, 8.0  # s: the lease and five; a window that Prefect does not hand out


@dataclass
class Crew:
    """All of an account."""

    workers: list[VirtualWorker]
    prefect: ModelPrefect
    ticks: Ticks

    @property
    def busiest(self) -> VirtualWorker:
        """The worker that made the newest tick of BTC."""
        name = self.ticks.made[BTC][-1][1]
        return next(each for each in self.workers if each.name == name)


Happens: TypeAlias = Callable[[Crew], Awaitable[None]]


async def killed(crew: Crew) -> None:
    """SIGKILL."""
    crew.busiest.kill()


async def frozen(crew: Crew) -> None:
    """SIGSTOP, and SIGCONT after its symbols have gone elsewhere."""
    victim = crew.busiest
    victim.frozen = True
    await asyncio.sleep(40)
    victim.frozen = False


async def drained(crew: Crew) -> None:
    """SIGTERM."""
    await crew.busiest.drain()


async def loop_blocked(crew: Crew) -> None:
    """The trading loop does not run; the watchdog ends the process."""
    await crew.busiest.block()


async def prefect_killed(crew: Crew) -> None:
    """And started again."""
    crew.prefect.away = True
    await asyncio.sleep(20)
    crew.prefect.away = False


async def prefect_frozen(crew: Crew) -> None:
    """It accepts requests and does not answer."""
    crew.prefect.away = True
    await asyncio.sleep(100)
    crew.prefect.away = False


async def prefect_away(crew: Crew) -> None:
    """For ten minutes."""
    crew.prefect.away = True
    await asyncio.sleep(600)
    crew.prefect.away = False


async def prefect_away_and_a_worker_killed(crew: Crew) -> None:
    """Both at the same time."""
    crew.prefect.away = True
    await asyncio.sleep(WINDOW + 10)
    crew.busiest.kill()


async def pool_deleted(crew: Crew) -> None:
    """A worker creates it again."""
    crew.prefect.pool_deleted = True


async def pool_limited(crew: Crew) -> None:
    """To one run."""
    crew.prefect.limit = 1


async def deployment_deleted(crew: Crew) -> None:
    """A worker creates it again."""
    crew.prefect.deployments[BTC].deleted = True


async def deployment_broken(crew: Crew) -> None:
    """Foreign parameters: each of its runs fails, until a worker restores them."""
    crew.prefect.deployments[BTC].broken = True


async def run_ended(crew: Crew) -> None:
    """Cancelled, suspended or deleted: the worker ends its window at its next look."""
    for run in crew.prefect.running():
        run.ends = True


async def twenty_runs(crew: Crew) -> None:
    """Of one symbol, at once."""
    for _ in range(20):
        crew.prefect.hand_out(BTC)


CASES = [
    (killed, LONG, FAILOVER),
    (frozen, LONG, FAILOVER),
    (drained, LONG, HANDOVER),
    (loop_blocked, LONG, FAILOVER),
    (prefect_killed, LONG, PREFECT_ALONE),
    (prefect_frozen, 125.0, PREFECT_ALONE),
    (prefect_away, 620.0, PREFECT_ALONE),
    (prefect_away_and_a_worker_killed, LONG, FAILOVER),
    (pool_deleted, LONG, HANDOVER),
    (pool_limited, LONG, HANDOVER),
    (deployment_deleted, LONG, HANDOVER),
    (deployment_broken, LONG, HANDOVER),
    (run_ended, LONG, HANDOVER),
    (twenty_runs, LONG, HANDOVER),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualRedis]:
    """One Redis server in virtual time for this module."""
    with virtual_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def play(server: VirtualRedis, happens: Happens, seconds: float) -> Crew:
    """Let the account trade, let it happen at BEGIN, and go on for `seconds`."""
    await server.forget()
    ticks = Ticks()
    workers = [VirtualWorker(idle_desk(server, name), ticks, name) for name in ("one", "two")]
    crew = Crew(workers, ModelPrefect(workers, random.Random(4)), ticks)
    tasks = [asyncio.ensure_future(work) for work in crew.prefect.always()]
    await asyncio.sleep(BEGIN - virtual_clock().passed)
    tasks.append(asyncio.ensure_future(happens(crew)))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for each in workers:
        await each.close()
    return crew


def nothing_doubled(ticks: Ticks) -> None:
    """A later tick never has an older fence: two workers never hold a symbol at the same time."""
    for made in ticks.made.values():
        fences = [fence for _, _, fence in made]
        assert fences == sorted(fences)


@pytest.mark.parametrize(("happens", "seconds", "most"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_longest_time_without_a_tick(server: VirtualRedis, happens: Happens, seconds: float, most: float) -> None:
    """Of any symbol, with ticks planned each two seconds; and nothing is doubled."""
    crew = run_virtually(lambda: play(server, happens, seconds), seed=1)
    gaps = {symbol: crew.ticks.longest_gap(symbol, BEGIN, BEGIN + seconds) for symbol in SYMBOLS}
    print(f"{getattr(happens, '__name__', '')}: {max(gaps.values()):.1f} s")
    nothing_doubled(crew.ticks)
    assert max(gaps.values()) <= most, gaps


@pytest.mark.parametrize("whole_pool", [False, True], ids=["deployment", "pool"])
@pytest.mark.parametrize("and_away", [False, True], ids=["there", "away"])
def test_a_pause_is_kept_and_ends_in_time(server: VirtualRedis, whole_pool: bool, and_away: bool) -> None:
    """The window that runs goes on to its end. Afterwards no worker ticks the symbol, also while Prefect is away."""

    async def paused(crew: Crew) -> None:
        crew.prefect.pool_paused, crew.prefect.deployments[BTC].paused = whole_pool, not whole_pool
        await asyncio.sleep(WINDOW + 6)
        crew.prefect.away = and_away
        await asyncio.sleep(64 - WINDOW)
        crew.prefect.away = False
        crew.prefect.pool_paused = crew.prefect.deployments[BTC].paused = False

    crew = run_virtually(lambda: play(server, paused, 115.0), seed=1)
    still = [at for at, _, _ in crew.ticks.made[BTC] if BEGIN + WINDOW + 2 < at <= BEGIN + 70]
    assert still == [], "ticked while it was paused"
    assert crew.ticks.longest_gap(BTC, BEGIN + 70 + 10, BEGIN + 115) <= HANDOVER, "not resumed"
    others = [crew.ticks.longest_gap(symbol, BEGIN, BEGIN + 70) for symbol in SYMBOLS[1:]]
    assert all((gap > 20) == whole_pool for gap in others), others
    nothing_doubled(crew.ticks)
