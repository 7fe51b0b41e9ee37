"""A worker killed at any step of a tick leaks no money, sends no order twice and loses no fill."""

import asyncio
import signal
import subprocess
import sys
from decimal import Decimal

import pytest

from tasks.base.errors import GridflowError
from tasks.base.money import units_up
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Trade
from tasks.tick.trader import GridTrader, LeaseHeld
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk

STEPS = ("begun", "read", "evidence", "recorded", "cancelled", "reserved", "sent", "finished")


def crash_once(url: str, step: str) -> None:
    """Run one tick in a process that dies at `step` by SIGKILL."""
    ended = subprocess.run([sys.executable, "-m", "tests.support.crash_worker", url, step], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


async def settle(trader: GridTrader, redis: RedisClient, ticks: int = 3) -> None:
    """Tick until the journal holds no doubtful order: past the dead worker's lease and the protection window."""
    done = 0
    for _ in range(200):
        try:
            await trader.tick()
            done += 1
        except LeaseHeld:
            pass
        entries = await redis.hvals(trader.desk.keys.intents(BTC))
        if done >= ticks and not any('"state":"INTENT"' in text or '"state":"UNKNOWN"' in text for text in entries):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the journal never settled")


async def check_books(desk: TestDesk, redis: RedisClient) -> None:
    """The exchange's own record and ours agree, and the pot holds exactly what the journal and inventory explain."""
    raw = await desk.exchange.fetch_orders(BTC, None, 1000)
    ids = [order["clientOrderId"] for order in raw]
    assert len(ids) == len(set(ids)), "an order was sent twice"
    keys = desk.desk.keys
    traded: list[Trade] = await desk.client.trades(BTC, 0)
    assert await redis.zcard(keys.seen(BTC)) == len(traded), "a fill is missing or was booked twice"
    state = await desk.desk.allocator.get_global_status_summary()
    held = [int(units) for units in await redis.hvals(keys.reservations(BTC))]
    assert state.reserved_units == sum(held), "leaked reservation"
    assert set(await redis.hkeys(keys.reservations(BTC))) == set(await redis.hkeys(keys.intents(BTC)))
    from tasks.grid.models import Cell
    from tasks.ledger.models import Book

    cells = [Cell.model_validate_json(text) for text in await redis.hvals(keys.cells(BTC))]
    assert state.used_units == sum(units_up(cell.basis) for cell in cells)
    assert state.committed_units <= state.pool_units
    book = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
    balances = await desk.client.balances()
    assert balances["USDT"].free + balances["USDT"].locked == Decimal(10_000) + book.cash
    assert balances["BTC"].free + balances["BTC"].locked == book.base
    resting = {order.client_id for order in await desk.client.open_orders(BTC)}
    assert resting == set(await redis.hkeys(keys.intents(BTC)))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["first tick", "after fills"])
async def test_killed_at_any_step(redis: RedisClient, redis_url: str, step: str, moment: str) -> None:
    """SIGKILL after each step, both before anything exists and with fills waiting to be booked."""
    desk = await open_desk(redis, settings(), {BTC: walk(60)})
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
