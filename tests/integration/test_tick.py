"""Ticks against the paper exchange on a real server: trading, leases, limits, stops, and what a tick costs."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tasks.base.clock import utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control.steps import pause, resume, stop
from tasks.grid.models import Cell, CellState
from tasks.tick.trader import LeaseHeld
from tasks.tick.window import run_window
from tasks.views.steps import final_summary, read_status
from tests.support.books import check_books, settle
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.round_trips import counted_round_trips

KEYS = Keys("main")


async def cells_of(redis: RedisClient) -> list[Cell]:
    """All cell records."""
    return [Cell.model_validate_json(text) for text in await redis.hvals(KEYS.cells(BTC))]


async def test_a_grid_trades_and_its_books_balance(redis: RedisClient) -> None:
    """400 candles: rounds are closed at a profit, the identity is 0, the exchange's balances are ours."""
    desk = await open_desk(redis, settings(), {BTC: walk(400)})
    trader = await desk.trader()
    for _ in range(400):
        await trader.tick()
        await desk.exchange.advance(1)
    await settle(trader, redis, ticks=1)
    await check_books(desk, redis)
    summary = await final_summary(settings(), redis)
    assert summary["identity_error"] == "0"
    assert summary["rounds"][BTC] > 10
    assert Decimal(summary["grid_profit"]) > 0
    assert Decimal(summary["max_committed"]) <= Decimal(summary["pool"])
    await desk.close()


@pytest.mark.parametrize(("cells", "range_pct"), [(5, "0.05"), (200, "0.3")])
async def test_round_trips_do_not_grow_with_the_grid(redis: RedisClient, cells: int, range_pct: str) -> None:
    """At most 8 a tick, the paper exchange's own included, for 5 cells and 200: idle, filled, and placing."""
    own = settings(
        symbols={BTC: {"grid": "geometric", "range_pct": range_pct, "cells": cells, "quote_per_cell": "30"}},
        total_funds="50000",
        trading={"lease_seconds": 120},  # a slow machine renews no lease in between
    )
    desk = await open_desk(redis, own, {BTC: walk(120, step_bp=200)})
    trader = await desk.trader()
    filled = 0
    while not filled:  # sets the grid, places the first orders, loads each script once
        filled = (await trader.tick()).fills
        await desk.exchange.advance(1)
    costs: dict[str, set[int]] = {"idle": set(), "busy": set()}
    with counted_round_trips() as trips:
        for _ in range(50):
            await desk.exchange.advance(1)
            before = trips.count
            report = await trader.tick()
            costs["busy" if report.fills else "idle"].add(trips.since(before))
    assert costs["busy"], "no fill in the test"
    assert max(costs["busy"]) == 7
    assert max(costs["idle"]) <= 5
    await desk.close()


async def test_only_the_lease_holder_ticks(redis: RedisClient) -> None:
    """A doubled run is harmless: the second is refused while the first holds the lease, and may follow after it."""
    desk = await open_desk(redis, settings(), {BTC: walk(10)})
    first, second = await desk.trader(owner="a"), await desk.trader(owner="b")
    before = await first.tick()
    with pytest.raises(LeaseHeld):
        await second.tick()
    await first.end_lease()
    report = await second.tick()
    assert report.fence == before.fence + 1
    await desk.close()


async def test_two_windows_at_once_never_double_an_order(redis: RedisClient) -> None:
    """Two windows of one symbol race for three seconds over moving prices."""
    own = settings(trading={"tick_min_seconds": "0.1", "tick_max_seconds": "0.2", "lease_seconds": 1})
    desk = await open_desk(redis, own, {BTC: walk(200)})
    ends = (utc_now() + timedelta(seconds=3)).timestamp()

    async def move() -> None:
        for _ in range(25):
            await asyncio.sleep(0.1)
            await desk.exchange.advance(4)

    traders = [await desk.trader(owner=name) for name in "ab"]
    *reports, _ = await asyncio.gather(*(run_window(one, ends, utc_now, lambda: None) for one in traders), move())
    assert all(report is not None and report.failed_ticks == 0 for report in reports)
    await settle(traders[0], redis, ticks=1)
    await check_books(desk, redis)
    await desk.close()


async def test_a_late_window_ends_at_once(redis: RedisClient) -> None:
    """Its time is over: no tick, no lease taken."""
    desk = await open_desk(redis, settings(), {BTC: walk(10)})
    trader = await desk.trader()
    long_ago = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    report = await run_window(trader, long_ago, utc_now, lambda: None)
    assert (report.ended, report.ticks) == ("late", 0)
    assert await redis.get(KEYS.lease(BTC)) is None
    await desk.close()


async def test_pause_stop_and_resume(redis: RedisClient) -> None:
    """Pause: no new buys, sells go on. Stop: everything that rests is cancelled. After it, trading goes on."""
    own = settings()
    desk = await open_desk(redis, own, {BTC: walk(100)})
    trader = await desk.trader()
    await trader.tick()
    await pause(redis, own, [BTC])
    await desk.exchange.advance(60)
    await settle(trader, redis)
    await desk.exchange.advance(35)
    await settle(trader, redis)
    waiting = [cell for cell in await cells_of(redis) if cell.state is CellState.IDLE]
    assert waiting
    selling = [cell for cell in await cells_of(redis) if cell.state is CellState.SELLING]
    assert selling
    await stop(redis, own)
    await settle(trader, redis)
    view = await read_status(own, redis)
    assert view.stopped
    assert view.reserved == Decimal(0)
    assert view.symbols[0].open_orders == 0
    assert await desk.client.open_orders(BTC) == []
    await resume(redis, own)
    await resume(redis, own, [BTC])
    await settle(trader, redis)
    assert len(await desk.client.open_orders(BTC)) == 20
    await check_books(desk, redis)
    await desk.close()


async def test_a_changed_grid_winds_the_old_one_down(redis: RedisClient) -> None:
    """New levels in the settings: old buys are cancelled, old lots keep their sells, the new grid trades."""
    desk = await open_desk(redis, settings(), {BTC: walk(400)})
    trader = await desk.trader()
    for _ in range(5):
        await trader.tick()
        await desk.exchange.advance(1)
    changed = settings(symbols={BTC: {"lower": "38000", "upper": "41000", "cells": 10, "quote_per_cell": "50"}})
    await trader.end_lease()
    other = await open_desk(redis, changed)
    heir = await other.trader()
    await settle(heir, redis)
    old = [cell for cell in await cells_of(redis) if cell.sell_price > 41_000]
    assert old
    assert all(cell.state is CellState.SELLING for cell in old)
    for _ in range(60):
        await other.exchange.advance(5)
        await heir.tick()
    await settle(heir, redis, ticks=1)
    await check_books(other, redis)
    back = await open_desk(redis, settings())
    await heir.end_lease()
    again = await back.trader()
    await settle(again, redis)
    await check_books(back, redis)
    await desk.close()
    await other.close()
    await back.close()


async def test_the_pot_is_never_overspent_when_it_is_too_small(redis: RedisClient) -> None:
    """Cells of 900 in a pot of 2000: two get money, the others say why, and refusals are counted once."""
    own = settings(
        total_funds="2000",
        symbols={BTC: {"range_pct": "0.04", "cells": 8, "quote_per_cell": "900", "start": "flat"}},
    )
    desk = await open_desk(redis, own, {BTC: walk(30, step_bp=5)})
    trader = await desk.trader()
    for _ in range(5):
        report = await trader.tick()
    assert list(report.refused.values()) == ["SYMBOL_LIMIT"] * 2
    assert await redis.hgetall(KEYS.blocked_counts) == {f"{BTC}|2": "2"}
    view = await read_status(own, redis)
    assert view.committed <= view.pool
    await desk.close()
