"""A grid trades through the real ccxt client on the loopback exchange, and both sides' books agree."""

from decimal import Decimal

import pytest

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.grid.models import Cell, CellState
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import BinanceDesk, open_binance_desk
from tests.support.binance.record import cell_of, most_committed, open_orders, sent_twice, unseen_trades
from tests.support.books import check_books, settle
from tests.support.desk import BTC, candle, settings, walk
from tests.support.fault_check import sharing_a_cell


async def check_record(desk: BinanceDesk, redis: RedisClient) -> None:
    """The exchange's record against ours: no order twice, no trade missed, no more bound than the pool holds."""
    record = await desk.server.record()
    keys = desk.desk.keys
    seen = [str(trade_id) for trade_id in await redis.zrange(keys.seen(BTC), 0, -1)]
    assert sent_twice(record) == {}
    assert unseen_trades(record, seen) == []
    assert {order.client_id for order in open_orders(record)} == set(await redis.hkeys(keys.intents(BTC)))
    state = await desk.desk.allocator.get_global_status_summary()
    assert most_committed(record, cell_of) * 10**8 <= state.pool_units
    assert {row.outcome for row in record.requests} == {"200"}
    assert record.highest_weight < 6000


@pytest.mark.parametrize("fill_parts", [1, 3])
async def test_a_grid_over_100_candles(redis: RedisClient, fill_parts: int) -> None:
    """Without a fault every request is answered with 200."""
    async with open_binance_desk(redis, settings(), {BTC: walk(100)}, Config(fill_parts=fill_parts)) as desk:
        trader = await desk.trader()
        for _ in range(100):
            await trader.tick()
            await desk.server.advance(1)
        await settle(trader, redis, ticks=1)
        await check_books(desk, redis)
        await check_record(desk, redis)
        assert len((await desk.server.record()).trades) > 20


async def test_partial_fills(redis: RedisClient) -> None:
    """Parts of orders that rest on are booked as they come."""
    config = Config(partial_share=0.4, partial_chance=0.7)
    async with open_binance_desk(redis, settings(), {BTC: walk(100)}, config) as desk:
        trader = await desk.trader()
        for _ in range(100):
            await trader.tick()
            await desk.server.advance(1)
        await settle(trader, redis, ticks=1)
        await check_books(desk, redis)
        await check_record(desk, redis)
        assert sharing_a_cell(await desk.server.record()) == []


async def test_the_rest_of_a_partly_filled_buy_is_cancelled_when_the_price_leaves(redis: RedisClient) -> None:
    """The price turns after a third of a buy: its cell sells that third. Never do two orders of a cell rest."""
    grid = {"lower": "39000", "upper": "42000", "cells": 3, "quote_per_cell": "300", "start": "flat"}
    rows = [candle(0, "40050", "40050", "40050", "40050"), candle(1, "40050", "40600", "40050", "40600")]
    rows += [candle(2, "40600", "40700", "40600", "40700"), candle(3, "40700", "41100", "40700", "41100")]
    async with open_binance_desk(redis, settings(symbols={BTC: grid}), {BTC: rows}) as desk:
        trader = await desk.trader()
        await trader.tick()
        near = max(await desk.client.open_orders(BTC), key=lambda order: order.price)
        assert near.price == 40_000
        await desk.server.fill(near.client_id, Decimal("0.002"))
        await desk.server.advance(1)
        await trader.tick()  # at 40050, below the middle of the cell
        assert near.client_id in {order.client_id for order in await desk.client.open_orders(BTC)}
        await desk.server.advance(1)
        report = await trader.tick()
        assert (report.cancelled, report.placed) == (1, 0)
        await trader.tick()
        (sell,) = [order for order in await desk.client.open_orders(BTC) if order.side is Side.SELL]
        assert (sell.price, sell.qty) == (Decimal(41_000), Decimal("0.002"))
        await desk.server.advance(2)
        await settle(trader, redis, ticks=2)
        await check_books(desk, redis)
        record = await desk.server.record()
        assert sharing_a_cell(record) == []
        assert {trade.qty for trade in record.trades} == {Decimal("0.002")}


async def test_many_trades_are_read_page_by_page(redis: RedisClient) -> None:
    """More trades than a page holds, from the first one and from a time on, each once and in few requests."""
    async with open_binance_desk(redis, settings(), {BTC: walk(5)}, Config(fill_parts=2500)) as desk:
        await desk.exchange.create_order(BTC, "market", "buy", 0.025)
        traded = (await desk.server.record()).trades
        for since_ms in (0, traded[0].at_ms):
            before = len((await desk.server.record()).requests)
            found = await desk.client.trades(BTC, since_ms)
            assert [trade.trade_id for trade in found] == [str(trade.trade_id) for trade in traded]
            assert len((await desk.server.record()).requests) - before <= 5


async def test_orders_too_far_from_the_price_are_not_sent(redis: RedisClient) -> None:
    """The exchange's percent-price filter is kept to, not bumped into; its cells say so and follow the price."""
    near = SymbolRules(symbol=BTC, percent_down=Decimal("0.98"), percent_up=Decimal("1.02"))
    async with open_binance_desk(redis, settings(), {BTC: walk(60)}, Config(symbols={BTC: near})) as desk:
        trader = await desk.trader()
        for _ in range(60):
            await trader.tick()
            await desk.server.advance(1)
        await settle(trader, redis, ticks=1)
        await check_books(desk, redis)
        await check_record(desk, redis)
        ticker = await desk.client.ticker(BTC)
        resting = [order.price for order in await desk.client.open_orders(BTC)]
        assert resting
        cells = [Cell.model_validate_json(text) for text in await redis.hvals(desk.desk.keys.cells(BTC))]
        waiting = [cell.buy_price for cell in cells if cell.order_id is None and cell.state is CellState.IDLE]
        assert any(price < ticker.last * Decimal("0.98") for price in waiting)
