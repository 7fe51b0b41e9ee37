"""A worker killed at any step of a tick leaks no money, sends no order twice and loses no fill."""

import asyncio
import signal

import pytest

from tasks.base.errors import GridflowError
from tasks.base.redis_client import RedisClient
from tasks.tick.trader import GridTrader, LeaseHeld
from tests.support.books import STEPS, check_books, settle
from tests.support.crash_worker import start_crash
from tests.support.desk import BTC, QUICK, open_desk, settings, walk
from tests.support.waiting import BUSY


def crash_once(url: str, step: str) -> None:
    """Run one tick in a process that dies at `step` by SIGKILL."""
    process = start_crash(url, step)
    process.join(BUSY * 30)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["first tick", "after fills"])
async def test_killed_at_any_step(redis: RedisClient, redis_url: str, step: str, moment: str) -> None:
    """SIGKILL after each step, both before anything exists and with fills waiting to be booked."""
    desk = await open_desk(redis, settings(trading=QUICK), {BTC: walk(60)})
    trader = await desk.trader()
    if moment == "after fills":
        await trader.tick()
        await desk.exchange.advance(8)
        await trader.end_lease()
    await asyncio.to_thread(crash_once, redis_url, step)
    await desk.exchange.advance(4)
    await settle(trader, redis)
    await check_books(desk, redis)
    for _ in range(20):
        await desk.exchange.advance(2)
        await trader.tick()
    await settle(trader, redis, ticks=1)
    await check_books(desk, redis)
    assert await redis.zcard(desk.desk.keys.seen(BTC)) > 5, "trading went on"
    await desk.close()


def test_every_step_is_tried() -> None:
    """The list above names every checkpoint of the tick."""
    import inspect
    import re

    named = re.findall(r'_checkpoint\("(\w+)"\)', inspect.getsource(GridTrader))
    assert sorted(named) == sorted(STEPS)
    assert issubclass(LeaseHeld, GridflowError)
