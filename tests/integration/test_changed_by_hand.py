"""Orders that somebody changed by hand, and orders of ours that no journal has."""

import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.events import EventKind
from tasks.base.money import ZERO, from_units
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order, Side
from tasks.exchange.order_ids import OrderId, Purpose, parse_order_id
from tasks.funds.models import TraderAllocation
from tasks.grid.models import Cell, CellState
from tasks.grid.sizing import reserve_units
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import total, value
from tasks.ledger.steps import audit_funds
from tasks.orders.models import Intent
from tasks.tick.slots import order_slot
from tasks.tick.trader import GridTrader
from tasks.views import store as views
from tests.support.binance.desk import BinanceDesk, open_binance_desk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import sent_twice
from tests.support.books import check_books, settle
from tests.support.desk import BTC, settings, walk
from tests.support.mortal import Killed, Mortal
from tests.support.outbox import booked_fills


@pytest.fixture
async def desk(redis: RedisClient) -> AsyncIterator[BinanceDesk]:
    """A balanced grid at work: it has bought, sold, and has orders on both sides of the price."""
    async with open_binance_desk(redis, settings(), {BTC: walk(200, seed=4)}) as opened:
        trader = await opened.trader()
        for _ in range(10):
            await trader.tick()
            await opened.server.advance(1)
        await settle(trader, redis, ticks=2)
        yield opened


async def order_of(desk: BinanceDesk, side: Side) -> Order:
    """The resting order of that side nearest to the price."""
    mine = [order for order in await desk.client.open_orders(BTC) if order.side is side]
    return max(mine, key=lambda order: order.price if side is Side.BUY else -order.price)


def name_of(order: Order) -> OrderId:
    """The parts of its client id."""
    name = parse_order_id(order.client_id)
    assert name is not None
    return name


async def journal(desk: BinanceDesk) -> dict[str, Intent]:
    """The journal, by client id."""
    texts = await desk.desk.redis.hgetall(desk.desk.keys.intents(BTC))
    return {str(name): Intent.model_validate_json(text) for name, text in texts.items()}


async def cells(desk: BinanceDesk) -> dict[str, Cell]:
    """The cells, by key."""
    texts = await desk.desk.redis.hvals(desk.desk.keys.cells(BTC))
    return {cell.key: cell for cell in map(Cell.model_validate_json, texts)}


async def share(desk: BinanceDesk) -> TraderAllocation:
    """The symbol's share of the pot."""
    return await desk.desk.allocator.get_allocation_status(BTC)


async def events(desk: BinanceDesk) -> list[Any]:
    """The events that tell of orphan orders."""
    found = await views.events(desk.desk.redis, desk.desk.keys, 50)
    return [one for one in found if one.type == EventKind.ORPHAN_ORDER]


async def trade_on(desk: BinanceDesk, trader: GridTrader, minutes: int = 40) -> None:
    """Go on, settle, and compare the books with the exchange's record."""
    for _ in range(minutes):
        await desk.server.advance(1)
        await trader.tick()
    await settle(trader, desk.desk.redis, ticks=2)
    await check_books(desk, desk.desk.redis)
    assert sent_twice(await desk.server.record()) == {}


# ---- changed by hand


@pytest.mark.parametrize("side", list(Side))
async def test_made_smaller_and_filled(desk: BinanceDesk, side: Side) -> None:
    """The order ends with what it is now; its money comes back, and the cell goes on."""
    trader, order = await desk.trader(), await order_of(desk, side)
    half = (order.qty / 2).quantize(Decimal("0.00001"))
    await desk.server.amend(order.client_id, qty=half)
    await desk.server.fill(order.client_id)
    await settle(trader, desk.desk.redis, ticks=3)
    assert order.client_id not in await journal(desk)
    await check_books(desk, desk.desk.redis)
    await trade_on(desk, trader)


async def test_made_as_small_as_it_is_filled(desk: BinanceDesk) -> None:
    """The exchange then calls it filled; no further trade will ever come."""
    trader, order = await desk.trader(), await order_of(desk, Side.BUY)
    part = Decimal("0.0001")  # too little to sell, so the rest is not cancelled
    await desk.server.fill(order.client_id, part)
    await trader.tick()
    await desk.server.amend(order.client_id, qty=part)
    await settle(trader, desk.desk.redis, ticks=3)
    assert order.client_id not in await journal(desk)
    await trade_on(desk, trader)


async def test_made_larger_and_filled_as_sent(desk: BinanceDesk) -> None:
    """What was sent is filled, the rest is open: it keeps its entry, and its cell sends nothing beside it."""
    trader, order = await desk.trader(), await order_of(desk, Side.BUY)
    await desk.server.amend(order.client_id, qty=order.qty * 2)
    await desk.server.fill(order.client_id, order.qty)
    await trader.tick()
    intent = (await journal(desk))[order.client_id]
    assert (intent.qty, intent.filled) == (order.qty * 2, order.qty)
    cell = (await cells(desk))[name_of(order).cell_key]
    assert (cell.order_id, cell.qty) == (order.client_id, order.qty)
    await trade_on(desk, trader)


async def test_a_sell_beyond_its_cell_takes_base_from_the_farthest_cells(desk: BinanceDesk) -> None:
    """Their cost is freed with its fill, so that cells, book and account hold the same, and profit is exact."""
    trader, order = await desk.trader(), await order_of(desk, Side.SELL)
    sells = sorted((await desk.client.open_orders(BTC)), key=lambda one: one.price)
    before, own = await cells(desk), name_of(order).cell_key
    for far in sells[-2:]:
        await desk.exchange.cancel_order(far.exchange_id, BTC)
    excess = sells[-1].qty + Decimal("0.0001")
    await desk.server.amend(order.client_id, qty=order.qty + excess)
    await desk.server.fill(order.client_id)
    await trader.tick()
    after = await cells(desk)
    second, last = (name_of(one).cell_key for one in sells[-2:])
    assert (after[own].qty, after[last].qty) == (ZERO, ZERO)
    assert after[second].qty == before[second].qty - Decimal("0.0001")
    fills = await booked_fills(desk.desk.redis, desk.desk.keys, BTC)
    fill = next(one for one in fills if one.client_id == order.client_id)
    freed = sum(before[key].basis - after[key].basis for key in (own, second, last))
    assert (fill.basis, fill.profit) == (freed, fill.quote - fill.fee_quote - freed)
    await trade_on(desk, trader)
    report = await audit_funds(desk.desk.redis, desk.desk.keys, [BTC], desk.client)
    assert report.drift == ()


async def test_a_sell_beyond_all_cells_takes_the_owners_own_base(desk: BinanceDesk) -> None:
    """It came into the books at no cost: the cells hold what the book says, and the account loses what it had more."""
    trader, order = await desk.trader(), await order_of(desk, Side.SELL)
    for other in await desk.client.open_orders(BTC):
        if other.side is Side.SELL and other.client_id != order.client_id:
            await desk.exchange.cancel_order(other.exchange_id, BTC)
    held, own = total(cell.qty for cell in (await cells(desk)).values()), Decimal("0.02")
    await desk.server.transfer("BTC", own)
    await desk.server.amend(order.client_id, qty=held + own)
    await desk.server.fill(order.client_id)
    await trader.tick()
    book = Book.model_validate_json(await desk.desk.redis.get(desk.desk.keys.book(BTC)) or "")
    assert total(cell.qty for cell in (await cells(desk)).values()) == book.base == ZERO
    assert (book.missing_base, book.missing) == (-own, ZERO)
    assert value(book, order.price).identity_error == 0
    report = await audit_funds(desk.desk.redis, desk.desk.keys, [BTC], desk.client)
    assert report.drift == ()
    await desk.desk.redis.flushall()
    await trader.tick()
    rebuilt = Book.model_validate_json(await desk.desk.redis.get(desk.desk.keys.book(BTC)) or "")
    assert (rebuilt.base, rebuilt.missing_base, rebuilt.cash) == (ZERO, -own, book.cash)


async def test_a_larger_amount_is_reserved_past_the_limits(redis: RedisClient) -> None:
    """At the next tick, however much it is: the symbol is then over its allocation, is granted nothing, and shrinks."""
    small = {"grid": "geometric", "range_pct": "0.04", "cells": 20, "quote_per_cell": "100", "start": "balanced"}
    async with open_binance_desk(redis, settings(symbols={BTC: small}), {BTC: walk(20)}) as desk:
        trader = await desk.trader()
        await settle(trader, redis, ticks=3)
        await desk.desk.redis.hset(desk.desk.keys.funds_symbol(BTC), "allocated", (await share(desk)).committed_units)
        order = await order_of(desk, Side.BUY)
        before = await share(desk)
        await desk.server.amend(order.client_id, qty=order.qty * 10)
        plain, seen = desk.desk.exchange.cancel, list[Intent]()

        async def cancel(symbol: str, exchange_ids: Any) -> None:
            after = await share(desk)
            more = reserve_units(order.price, order.qty * 10, Decimal("0.001"))
            more -= reserve_units(order.price, order.qty, Decimal("0.001"))
            assert after.reserved_units == before.reserved_units + more
            assert after.committed_units > after.allocated_units
            seen.append((await journal(desk))[order.client_id])
            assert order.exchange_id in exchange_ids, "first its buys are brought to their size"
            await plain(symbol, exchange_ids)

        desk.desk.exchange.cancel = cancel  # type: ignore[method-assign]
        await trader.tick()
        desk.desk.exchange.cancel = plain  # type: ignore[method-assign]
        (intent,) = seen
        assert intent.qty == order.qty * 10
        await settle(trader, redis, ticks=4)
        after = await share(desk)
        assert after.committed_units <= after.allocated_units
        await check_books(desk, redis)


@pytest.mark.parametrize("side", list(Side))
async def test_the_price_is_changed(desk: BinanceDesk, side: Side) -> None:
    """The journal has it, money included; the fill is booked at what it was."""
    trader, order = await desk.trader(), await order_of(desk, side)
    price = (order.price * (Decimal("0.999") if side is Side.BUY else Decimal("1.001"))).quantize(Decimal("0.01"))
    await desk.server.amend(order.client_id, price=price)
    await trader.tick()
    assert (await journal(desk))[order.client_id].price == price
    await desk.server.fill(order.client_id)
    await settle(trader, desk.desk.redis, ticks=2)
    await check_books(desk, desk.desk.redis)
    await trade_on(desk, trader)


# ---- orders of ours that no journal has


async def place(desk: BinanceDesk, name: OrderId, qty: str, price: str) -> str:
    """Place an order under one of our names by hand; its exchange id."""
    await desk.desk.redis.hset(desk.desk.keys.slots(BTC), order_slot(name.cell_key, name.purpose), name.cycle)
    side = name.side.value
    raw = await desk.exchange.create_order(BTC, "limit", side, float(qty), float(price), {"clientOrderId": str(name)})
    return str(raw["id"])


async def a_buy(desk: BinanceDesk, price: str = "39000") -> OrderId:
    """A resting buy of ours in a cell that has an order of its own. An order with that name was sent once."""
    name = name_of(await order_of(desk, Side.BUY))._replace(cycle=77)
    await place(desk, name, "0.001", price)
    return name


async def test_it_is_journalled_and_then_cancelled(desk: BinanceDesk) -> None:
    """In one tick, with the money that it binds, even past the limits; it is told of once."""
    trader, redis, keys = await desk.trader(), desk.desk.redis, desk.desk.keys
    await redis.hset(keys.funds_symbol(BTC), "allocated", (await share(desk)).committed_units)
    name = await a_buy(desk)
    reserved = (await share(desk)).reserved_units
    plain, seen = desk.desk.exchange.cancel, list[Intent]()

    async def cancel(symbol: str, exchange_ids: Any) -> None:
        seen.append((await journal(desk))[str(name)])
        assert (await share(desk)).reserved_units - reserved == seen[0].units_left
        assert seen[0].exchange_id in exchange_ids
        await plain(symbol, exchange_ids)

    desk.desk.exchange.cancel = cancel  # type: ignore[method-assign]
    report = await trader.tick()
    assert report.orphan_orders == (str(name),)
    (intent,) = seen
    assert intent.orphan
    assert from_units(intent.units_left) > Decimal("39000") * Decimal("0.001")
    desk.desk.exchange.cancel = plain  # type: ignore[method-assign]
    await settle(trader, redis, ticks=2)
    assert str(name) not in await journal(desk)
    (event,) = await events(desk)
    assert str(name) in str(event)
    await trade_on(desk, trader)


async def test_what_it_filled_is_booked(desk: BinanceDesk) -> None:
    """Before it was found, while it is cancelled, or both."""
    trader = await desk.trader()
    name = await a_buy(desk)
    (exchange_id,) = [one.exchange_id for one in await desk.client.open_orders(BTC) if one.client_id == str(name)]
    await desk.server.fill(str(name), Decimal("0.0004"))
    await desk.server.inject(
        Fault(kind=FaultKind.FILL_ON_CANCEL, method="DELETE", path="order", match={"orderId": exchange_id})
    )
    held = (await cells(desk))[name.cell_key].qty
    await settle(trader, desk.desk.redis, ticks=3)
    assert (await cells(desk))[name.cell_key].qty == held + Decimal("0.001")
    await check_books(desk, desk.desk.redis)
    await trade_on(desk, trader)


async def test_one_that_filled_at_once_is_booked(desk: BinanceDesk) -> None:
    """It never rested: its trade leads to it, once trades are read because of another order."""
    trader = await desk.trader()
    price = str((await desk.client.ticker(BTC)).last + 10)
    name = await a_buy(desk, price)
    other = await order_of(desk, Side.SELL)
    await desk.server.fill(other.client_id)
    await settle(trader, desk.desk.redis, ticks=2)
    await check_books(desk, desk.desk.redis)
    (event,) = await events(desk)
    assert str(name) in str(event)
    await trade_on(desk, trader)


async def test_trades_of_others_are_looked_at_once(desk: BinanceDesk) -> None:
    """A person trades the same symbol: each of their orders costs one lookup, by whichever worker."""
    trader = await desk.trader()
    for number in range(5):
        await desk.exchange.create_order(BTC, "market", "buy", 0.0005, None, {"clientOrderId": f"person{number}"})
    lookups = []
    for _ in range(3):
        order = await order_of(desk, Side.BUY)
        await desk.server.fill(order.client_id)
        sent = len((await desk.server.record()).requests)
        desk.desk.explained.clear()  # as in another process
        await trader.tick()
        rows = (await desk.server.record()).requests[sent:]
        lookups.append(sum(row.method == "GET" and row.path.endswith("/order") for row in rows))
    assert lookups == [5, 0, 0]
    assert await events(desk) == []


async def test_a_sell_whose_cell_holds_that_much_is_kept(desk: BinanceDesk) -> None:
    """The cell has no order: it is as good as the one that would be placed."""
    trader, redis, keys = await desk.trader(), desk.desk.redis, desk.desk.keys
    order = await order_of(desk, Side.SELL)
    await desk.exchange.cancel_order(order.exchange_id, BTC)
    await redis.hset(keys.funds, "stopped", 1)
    await settle(trader, redis, ticks=3)
    await redis.hdel(keys.funds, "stopped")
    cell = (await cells(desk))[name_of(order).cell_key]
    assert cell.state is CellState.HOLDING
    name = name_of(order)._replace(cycle=cell.cycle + 5)
    await place(desk, name, str(order.qty), str(order.price))
    await trader.tick()
    cell = (await cells(desk))[cell.key]
    assert (cell.state, cell.order_id) == (CellState.SELLING, str(name))
    assert not (await journal(desk))[str(name)].orphan
    await trader.tick()
    assert str(name) in {one.client_id for one in await desk.client.open_orders(BTC)}
    await trade_on(desk, trader)


async def test_an_old_reading_makes_no_orphan(desk: BinanceDesk) -> None:
    """Open orders as they were before a fill that is booked by now: the lookup shows that the order has ended."""
    trader, order = await desk.trader(), await order_of(desk, Side.BUY)
    stale = await desk.client.open_orders(BTC)
    await desk.server.fill(order.client_id)
    await settle(trader, desk.desk.redis, ticks=2)
    fresh = desk.desk.exchange.orders_and_ticker

    async def as_before(symbol: str, not_before_ms: int = 0) -> Any:
        orders, ticker = await fresh(symbol, not_before_ms)
        return [*orders, *(one for one in stale if one.client_id == order.client_id)], ticker

    desk.desk.exchange.orders_and_ticker = as_before  # type: ignore[method-assign]
    report = await trader.tick()
    desk.desk.exchange.orders_and_ticker = fresh  # type: ignore[method-assign]
    assert report.orphan_orders == ()
    assert order.client_id not in await journal(desk)
    assert await events(desk) == []
    await trade_on(desk, trader)


async def test_an_order_of_an_earlier_grid_gets_its_cell_back(desk: BinanceDesk) -> None:
    """Its fill is booked there and sold at 1 % more, which is below the market; the cell goes when it is empty."""
    trader, name = await desk.trader(), name_of(await order_of(desk, Side.BUY))
    old = name._replace(grid_id="abcde", level=3, purpose=Purpose.BUY, cycle=4)
    await place(desk, old, "0.001", "39000")
    await desk.server.fill(str(old), Decimal("0.0005"))
    await settle(trader, desk.desk.redis, ticks=3)
    texts = await desk.desk.redis.lrange(desk.desk.keys.newest_fills(BTC), 0, -1)
    fills = [fill for fill in map(Fill.model_validate_json, texts) if fill.cell_key == old.cell_key]
    assert [(fill.side, fill.qty) for fill in fills] == [(side, Decimal("0.0005")) for side in (Side.SELL, Side.BUY)]
    assert old.cell_key not in await cells(desk)
    await check_books(desk, desk.desk.redis)
    await trade_on(desk, trader)


async def test_killed_between_journalling_and_cancelling(redis: RedisClient) -> None:
    """At every wait from the lookup on: the next worker finds the entry and cancels; nothing leaks."""
    for life in itertools.count(1):
        await redis.flushall()
        async with open_binance_desk(redis, settings(), {BTC: walk(200, seed=4)}) as desk:
            trader = await desk.trader()
            for _ in range(4):
                await trader.tick()
                await desk.server.advance(1)
            await settle(trader, redis, ticks=2)
            name = await a_buy(desk)
            await desk.server.fill(str(name), Decimal("0.0004"))
            counting = [False]

            def reached(step: str, counting: list[bool] = counting) -> None:
                counting[0] = counting[0] or step == "read"

            ticking = Mortal((await desk.trader(checkpoint=reached)).tick(), -1, Killed)

            def at_wait(ticking: Any = ticking, counting: list[bool] = counting, life: int = life) -> None:
                if counting[0] and ticking.life < 0:
                    ticking.life = ticking.lived + life - 1 if life > 1 else ticking.lived

            ticking._at_wait = at_wait
            try:
                await ticking
                died = False
            except Killed:
                died = True
            await settle(trader, redis, ticks=3)
            assert str(name) not in await journal(desk)
            assert str(name) not in {one.client_id for one in await desk.client.open_orders(BTC)}
            await check_books(desk, redis)
        if not died:
            break
    assert life > 5
