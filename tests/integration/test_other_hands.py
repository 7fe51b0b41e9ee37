"""Somebody else's hand on the account: cancels, orders, deposits and withdrawals that are not Gridflow's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tasks.base.events import EventKind
from tasks.base.redis_client import RedisClient
from tasks.control.steps import stop
from tasks.exchange.limits.breaker_store import Breakers
from tasks.exchange.models import Order, Side
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.grid.models import Cell, CellState
from tasks.ledger import quote_guard
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.settings.model import Settings
from tasks.tick.monitor import guard_balance
from tasks.tick.slots import order_slot
from tasks.tick.trader import GridTrader
from tasks.tick.window import BreakerOpen, guarded_tick
from tasks.views import store as views
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, open_binance_desk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import sent_twice
from tests.support.binance.server import LocalExchange
from tests.support.books import check_books, settle
from tests.support.desk import BTC, QUICK, settings, walk


@asynccontextmanager
async def at_work(redis: RedisClient, own: Settings) -> AsyncIterator[BinanceDesk]:
    """A balanced grid at work: it has bought, sold, and has orders on both sides of the price."""
    async with open_binance_desk(redis, own, {BTC: walk(200, seed=4)}, Config(weight_limit=60_000)) as opened:
        trader = await opened.trader()
        for _ in range(10):
            await trader.tick()
            await opened.server.advance(1)
        await settle(trader, redis, ticks=2)
        yield opened


@pytest.fixture
async def desk(redis: RedisClient) -> AsyncIterator[BinanceDesk]:
    """The same with the usual settings of tests."""
    async with at_work(redis, settings()) as opened:
        yield opened


async def order_of(desk: BinanceDesk, side: Side) -> Order:
    """The resting order of that side nearest to the price."""
    mine = [order for order in await desk.client.open_orders(BTC) if order.side is side]
    return max(mine, key=lambda order: order.price if side is Side.BUY else -order.price)


async def cell_of(desk: BinanceDesk, order: Order) -> Cell:
    """The cell that has sent this order, by level."""
    texts = await desk.desk.redis.hvals(desk.desk.keys.cells(BTC))
    cells = [Cell.model_validate_json(text) for text in texts]
    said = parse_order_id(order.client_id)
    return next(cell for cell in cells if said and cell.key == said.cell_key)


def holdings(desk: BinanceDesk, **changes: str) -> None:
    """Change what the account holds behind everybody's back: a deposit or withdrawal."""
    assert isinstance(desk.server, LocalExchange)
    engine = desk.server.binance.engine
    held = dict(engine.totals[-1][1])
    for asset, amount in changes.items():
        held[asset] += Decimal(amount)
    engine.totals.append((engine.seq, held))


async def trade_on(desk: BinanceDesk, trader: GridTrader, minutes: int = 40) -> None:
    """Go on, then settle."""
    for _ in range(minutes):
        await desk.server.advance(1)
        await trader.tick()
    await settle(trader, desk.desk.redis, ticks=2)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("part", ["0", "0.4"])
async def test_our_order_is_cancelled_by_hand(desk: BinanceDesk, side: Side, part: str) -> None:
    """Its money comes back, what it had filled is booked, and the cell sends its next order."""
    redis, trader = desk.desk.redis, await desk.trader()
    order = await order_of(desk, side)
    filled = (order.qty * Decimal(part)).quantize(Decimal("0.00001"))
    if filled:
        await desk.server.fill(order.client_id, filled)
    await desk.exchange.cancel_order(order.exchange_id, BTC)
    await settle(trader, redis, ticks=3)
    await check_books(desk, redis)
    cell = await cell_of(desk, order)
    assert cell.order_id != order.client_id
    assert cell.order_id is not None or cell.state in (CellState.IDLE, CellState.HOLDING)
    if filled and side is Side.BUY:
        assert cell.qty >= filled
        assert cell.state is CellState.SELLING
    await trade_on(desk, trader)
    await check_books(desk, redis)
    assert sent_twice(await desk.server.record()) == {}


async def test_orders_of_others_are_left_alone(desk: BinanceDesk) -> None:
    """Resting, filled or cancelled beside ours; also when all of ours are taken back."""
    redis, trader = desk.desk.redis, await desk.trader()
    low = await desk.exchange.create_order(BTC, "limit", "buy", 0.001, 39_000, {"clientOrderId": "mine"})
    await desk.exchange.create_order(BTC, "market", "buy", 0.001, None, {"clientOrderId": "bought"})
    gone = await desk.exchange.create_order(BTC, "limit", "buy", 0.001, 38_000, {"clientOrderId": "gone"})
    await desk.exchange.cancel_order(gone["id"], BTC)
    before = Book.model_validate_json(await redis.get(desk.desk.keys.book(BTC)) or "")
    await trader.tick()
    after = Book.model_validate_json(await redis.get(desk.desk.keys.book(BTC)) or "")
    assert after == before, "what others trade is not ours"
    await trade_on(desk, trader)
    await stop(redis, desk.desk.settings)
    await settle(trader, redis, ticks=3)
    left = await desk.client.open_orders(BTC)
    assert [order.client_id for order in left] == ["mine"]
    assert left[0].exchange_id == low["id"]


async def test_money_comes_and_goes(desk: BinanceDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deposit changes no book. A withdrawal stops new grants until the money is back; nothing is sent in vain."""
    monkeypatch.setattr(quote_guard, "CLOCK_MARGIN_MS", 0)
    redis, trader = desk.desk.redis, await desk.trader()
    keys = desk.desk.keys
    before = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
    holdings(desk, USDT="5000")
    await trader.tick()
    assert Book.model_validate_json(await redis.get(keys.book(BTC)) or "") == before
    holdings(desk, USDT="-14000")
    await guard_balance(desk.desk)
    await trader.tick()
    assert await guard_balance(desk.desk) > 0, "two looks, a tick apart"
    sent = len((await desk.server.record()).requests)
    for _ in range(20):
        await desk.server.advance(1)
        await trader.tick()
    placed = [row for row in (await desk.server.record()).requests[sent:] if row.method == "POST"]
    assert {row.params["side"] for row in placed} == {"SELL"}
    holdings(desk, USDT="9000")
    await guard_balance(desk.desk)
    await trade_on(desk, trader, minutes=20)
    buys = [
        row for row in (await desk.server.record()).requests if row.method == "POST" and row.params["side"] == "BUY"
    ]
    assert buys[-1].number > placed[-1].number
    await check_books(desk, redis)


async def test_money_bound_by_other_orders_is_not_there(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large order by hand locks what the pot promises: no new grants, instead of orders refused for want of funds."""
    monkeypatch.setattr(quote_guard, "CLOCK_MARGIN_MS", 0)
    small = {"grid": "geometric", "range_pct": "0.04", "cells": 20, "quote_per_cell": "100"}
    async with open_binance_desk(redis, settings(symbols={BTC: small}), {BTC: walk(20)}) as desk:
        trader = await desk.trader()
        await trader.tick()
        assert await guard_balance(desk.desk) == 0
        own = await desk.exchange.create_order(BTC, "limit", "buy", 0.2, 38_000)
        await guard_balance(desk.desk)
        await trader.tick()
        free = (await desk.client.balances())["USDT"].free
        reserved = (await desk.desk.allocator.get_global_status_summary()).reserved_units
        short = await guard_balance(desk.desk)
        assert short == 9500 * 10**8 - reserved - int(free * 10**8)
        await desk.exchange.cancel_order(own["id"], BTC)
        assert await guard_balance(desk.desk) == 0


async def test_an_order_of_ours_without_a_journal_entry_is_cancelled(desk: BinanceDesk) -> None:
    """It should not exist; when it does, it is journalled, cancelled and told of once."""
    trader, said = await desk.trader(), parse_order_id((await order_of(desk, Side.BUY)).client_id)
    assert said is not None
    await desk.desk.redis.hset(desk.desk.keys.slots(BTC), order_slot(said.cell_key, Purpose.BUY), 77)  # it was sent
    name, another = str(said._replace(cycle=77)), str(said._replace(account="000", cycle=78))
    for one in (name, another):
        await desk.exchange.create_order(BTC, "limit", "buy", 0.001, 39_000, {"clientOrderId": one})
    await trader.tick()
    assert name not in {order.client_id for order in await desk.client.open_orders(BTC)}
    await trader.tick()
    told = [
        one for one in await views.events(desk.desk.redis, desk.desk.keys, 50) if one.type == EventKind.ORPHAN_ORDER
    ]
    assert len(told) == 1
    assert name in str(told[0])
    left = [order for order in await desk.client.open_orders(BTC) if order.client_id == another]
    assert left, "the order of another account's Gridflow stays"
    await desk.exchange.cancel_order(left[0].exchange_id, BTC)
    await check_books(desk, desk.desk.redis)


async def test_orders_that_never_get_an_answer_open_the_breaker(redis: RedisClient) -> None:
    """Reading goes well, placing does not: that is trouble too."""
    async with at_work(redis, settings(trading=QUICK)) as desk:
        trader, breakers = await desk.trader(), Breakers(redis, desk.desk.keys)
        refused = Fault(kind=FaultKind.ERROR_BEFORE, method="POST", path="order", status=502)
        await desk.server.inject(refused, count=10_000)
        order = await order_of(desk, Side.BUY)
        await desk.exchange.cancel_order(order.exchange_id, BTC)

        async def keep_trying() -> None:
            while True:
                await guarded_tick(trader, breakers)
                await asyncio.sleep(0.1)

        with pytest.raises(BreakerOpen, match="none of"):
            await asyncio.wait_for(keep_trying(), 60)


async def test_the_base_is_withdrawn(desk: BinanceDesk) -> None:
    """Sells are refused for want of it: each waits with its reason and is not sent again and again."""
    trader = await desk.trader()
    order = await order_of(desk, Side.SELL)
    await desk.exchange.cancel_order(order.exchange_id, BTC)
    free = (await desk.client.balances())["BTC"].free
    holdings(desk, BTC=str(-free))
    sent = len((await desk.server.record()).requests)
    for _ in range(15):
        await trader.tick()
    tried = [row for row in (await desk.server.record()).requests[sent:] if row.method == "POST"]
    assert len(tried) == 1
    cell = await cell_of(desk, order)
    assert cell.state is CellState.HOLDING
    assert cell.retry_ms > 0
    holdings(desk, BTC=str(free))
    await trade_on(desk, trader)
    assert sent_twice(await desk.server.record()) == {}


async def test_fees_in_a_third_coin(redis: RedisClient) -> None:
    """Paid in BNB: no cash leaves for them, and they count as what they were worth."""
    config = Config(fee_currency="BNB", balances={"USDT": Decimal(10_000), "BNB": Decimal(5)})
    candles = {BTC: walk(80, seed=4), "BNB/USDT": walk(80, seed=9, start="300")}
    async with open_binance_desk(redis, settings(), candles, config) as desk:
        trader = await desk.trader()
        await trade_on(desk, trader, minutes=70)
        await check_books(desk, redis)
        book = Book.model_validate_json(await redis.get(desk.desk.keys.book(BTC)) or "")
        record = await desk.server.record()
        paid = sum((trade.fee for trade in record.trades), Decimal(0))
        assert {trade.fee_asset for trade in record.trades} == {"BNB"}
        assert value(book, Decimal("42000")).identity_error == 0
        assert book.fees == pytest.approx(paid * 300, rel=Decimal("0.05"))
