"""The exchange changes tick size, lot step and minimum while a grid trades: it goes on, or only sells and says so."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.plan_models import IdleReason
from tasks.tick.markets import Markets
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import BinanceDesk, join_binance_desk, open_binance_desk
from tests.support.binance.record import OrderRow, open_orders, sent_twice
from tests.support.books import check_books, settle
from tests.support.desk import BTC, candle, settings, walk
from tests.support.fault_check import sharing_a_cell

KEYS = Keys("main")
LOW = {"lower": "41000", "upper": "41900", "cells": 3, "quote_per_cell": "300", "start": "flat"}


async def change(desk: BinanceDesk, **filters: Any) -> None:
    """The exchange changes the filters of BTC."""
    await desk.server.configure(symbols={BTC: SymbolRules(symbol=BTC, **filters)})


async def trade(desk: BinanceDesk, trader: GridTrader, rounds: int) -> TickReport:
    """Tick and let the market move."""
    for _ in range(rounds):
        report = await trader.tick()
        await desk.server.advance(1)
    return report


async def cells_of(redis: RedisClient) -> list[Cell]:
    """All cells, lowest first."""
    cells = [Cell.model_validate_json(text) for text in await redis.hvals(KEYS.cells(BTC))]
    return sorted(cells, key=lambda cell: cell.index)


async def grid_of(redis: RedisClient) -> Grid:
    """The grid in force."""
    return Grid.model_validate_json(await redis.get(KEYS.grid(BTC)) or "")


async def refusals(desk: BinanceDesk) -> list[str]:
    """What the exchange answered to orders that it refused for a filter."""
    record = await desk.server.record()
    return [row.outcome for row in record.requests if row.method == "POST" and "-1013" in row.outcome]


async def placed_after(desk: BinanceDesk, before: Sequence[OrderRow]) -> list[OrderRow]:
    """Orders that the exchange accepted since."""
    return list((await desk.server.record()).orders[len(before) :])


async def check(desk: BinanceDesk, trader: GridTrader, redis: RedisClient) -> None:
    """Both sides' books agree, and no cell ever had two orders."""
    await settle(trader, redis, ticks=2)
    await check_books(desk, redis)
    record = await desk.server.record()
    assert sent_twice(record) == {}
    assert sharing_a_cell(record) == []


@pytest.mark.parametrize(("before", "after"), [("0.01", "1"), ("1", "0.01"), ("0.5", "0.2")])
async def test_a_grid_follows_the_tick_size(redis: RedisClient, before: str, after: str) -> None:
    """It keeps its id and its resting orders; new orders stand on the new tick size. Few orders are refused, once."""
    start = Config(symbols={BTC: SymbolRules(symbol=BTC, tick=Decimal(before))})
    async with open_binance_desk(redis, settings(), {BTC: walk(80, step_bp=40)}, start) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 20)
        grid, old = await grid_of(redis), (await desk.server.record()).orders
        await change(desk, tick=Decimal(after))
        if before == "1":  # its prices stay valid, so nothing is refused: found at the hourly reading
            desk.desk.markets.read_soon()
        await trade(desk, trader, 60)
        now, new = await grid_of(redis), await placed_after(desk, old)
        assert (now.grid_id, now.first_price) == (grid.grid_id, grid.first_price)
        assert now.levels != grid.levels
        assert all(level % Decimal(after) == 0 for level in now.levels)
        assert len(new) >= 6
        assert all(order.price % Decimal(after) == 0 for order in new)
        assert not [row for row in (await desk.server.record()).orders if row.status == "CANCELED"]
        assert len(await refusals(desk)) <= 4, "the markets are read again after the first refusal"
        levels = {cell.index: now.levels[cell.index : cell.index + 2] for cell in await cells_of(redis)}
        free = [cell for cell in await cells_of(redis) if cell.order_id is None]
        assert all((cell.buy_price, cell.sell_price) == levels[cell.index] for cell in free)
        await check(desk, trader, redis)


async def test_a_grid_follows_lot_step_and_minimum(redis: RedisClient) -> None:
    """Coarser lots and a larger minimum, then finer ones: what a lot step leaves is sold with the next lot."""
    async with open_binance_desk(redis, settings(), {BTC: walk(80)}) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 20)
        old = (await desk.server.record()).orders
        await change(desk, step=Decimal("0.001"), min_qty=Decimal("0.001"), min_notional=Decimal(100))
        await trade(desk, trader, 30)
        assert all(order.qty % Decimal("0.001") == 0 for order in await placed_after(desk, old))
        assert len(await refusals(desk)) <= 4
        await change(desk)
        desk.desk.markets.read_soon()
        await trade(desk, trader, 30)
        assert len(await refusals(desk)) <= 4
        await check(desk, trader, redis)


async def test_cells_that_collapse_buy_nothing(redis: RedisClient) -> None:
    """A tick size of 1000 leaves 41000 and 42000 of four levels: buys go, the lot is sold, and the cells say why."""
    flat = [candle(minute, "41650", "41650", "41650", "41650") for minute in range(3)]
    rows = [*flat, candle(3, "41650", "42100", "41650", "41650"), candle(4, "41650", "41650", "41650", "41650")]
    async with open_binance_desk(redis, settings(symbols={BTC: LOW}), {BTC: rows}) as desk:
        trader = await desk.trader()
        await trader.tick()
        near = max(await desk.client.open_orders(BTC), key=lambda order: order.price)
        await desk.server.fill(near.client_id)
        await trader.tick()  # holds what it bought at 41600
        (sell,) = [order for order in await desk.client.open_orders(BTC) if order.side is Side.SELL]
        assert sell.price == 41_900
        grid = await grid_of(redis)
        await change(desk, tick=Decimal(1000))
        desk.desk.markets.read_soon()
        report = await trader.tick()
        assert (report.cancelled, report.placed) == (2, 0)
        assert "two levels fall on the same price (tick size 1000)" in report.unfit
        report = await trader.tick()
        assert set(report.idle.values()) == {IdleReason.GRID_UNFIT}
        assert [order.client_id for order in await desk.client.open_orders(BTC)] == [sell.client_id], "it may rest"
        await desk.exchange.cancel_order(sell.exchange_id, BTC)
        await trader.tick()
        (again,) = await desk.client.open_orders(BTC)
        assert (again.side, again.price) == (Side.SELL, Decimal(42_000)), "on the new tick size, not below its price"
        await desk.server.advance(4)
        await trader.tick()
        report = await trader.tick()
        assert list(report.idle.values()) == [IdleReason.GRID_UNFIT] * 3
        assert not [cell for cell in await cells_of(redis) if cell.qty]
        assert await grid_of(redis) == grid, "kept as it was, for when it fits again"
        assert await refusals(desk) == []
        await change(desk)
        desk.desk.markets = Markets()
        desk.desk.markets.read_soon()
        report = await trader.tick()
        assert (report.unfit, report.placed) == ("", 3)
        await check(desk, trader, redis)


async def test_a_minimum_above_the_configured_size(redis: RedisClient) -> None:
    """Cells of 300 where the exchange wants 400: no buys, and a lot that is too small to sell is kept."""
    rows = [candle(minute, "41650", "41650", "41650", "41650") for minute in range(5)]
    async with open_binance_desk(redis, settings(symbols={BTC: LOW}), {BTC: rows}) as desk:
        trader = await desk.trader()
        await trader.tick()
        near = max(await desk.client.open_orders(BTC), key=lambda order: order.price)
        await desk.server.fill(near.client_id)
        await change(desk, min_notional=Decimal(400))
        desk.desk.markets.read_soon()
        await trader.tick()
        report = await trader.tick()
        assert "below the exchange's minimum (400 quote)" in report.unfit
        assert list(report.idle.values()) == [IdleReason.GRID_UNFIT] * 3
        assert open_orders(await desk.server.record()) == []
        await change(desk)
        desk.desk.markets = Markets()
        desk.desk.markets.read_soon()
        await trader.tick()
        assert [order.side for order in await desk.client.open_orders(BTC)] == [Side.BUY] * 3
        await check(desk, trader, redis)


@pytest.mark.parametrize(("before", "after"), [("0.01", "1"), ("1", "0.01")])
async def test_a_rebuild_takes_orders_of_another_tick_size(redis: RedisClient, before: str, after: str) -> None:
    """Redis is lost after the change: the grid comes back around the same price, with its orders and its lots."""
    start = Config(symbols={BTC: SymbolRules(symbol=BTC, tick=Decimal(before))})
    async with open_binance_desk(redis, settings(), {BTC: walk(60)}, start) as desk:
        trader = await desk.trader()
        await trade(desk, trader, 20)
        await settle(trader, redis, ticks=1)
        grid, cells = await grid_of(redis), await cells_of(redis)
        await trader.end_lease()
        await change(desk, tick=Decimal(after))
        resting = {order.client_id for order in await desk.client.open_orders(BTC)}
        await redis.flushall()
        later = await join_binance_desk(redis, settings(), desk.server)
        try:
            found = await later.trader(owner="later")
            await found.tick()
            built = await grid_of(redis)
            assert built.grid_id == grid.grid_id
            assert abs(built.first_price - grid.first_price) <= 2
            assert all(abs(old - new) <= 2 for old, new in zip(grid.levels, built.levels, strict=True))
            assert resting <= {order.client_id for order in await later.client.open_orders(BTC)}
            held = {cell.index: cell.qty for cell in cells if cell.state is CellState.SELLING}
            assert {cell.index: cell.qty for cell in await cells_of(redis) if cell.qty} == held
            await trade(later, found, 30)
            await check(later, found, redis)
        finally:
            await later.close()
