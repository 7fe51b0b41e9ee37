"""Base that leaves the account behind our back: found by two comparisons, booked at cost, and taken back in."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tasks.base.errors import ConfigError, StateError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.exchange.models import Order, Side
from tasks.grid.models import Cell, CellState
from tasks.ledger.audit import Cause
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.ledger.steps import audit_funds
from tasks.tick.base_return import BaseReturn, return_base
from tasks.tick.monitor import run_monitor
from tasks.tick.trader import GridTrader
from tasks.views import store as views
from tasks.views.models import StatusView
from tasks.views.render import status_table
from tasks.views.steps import read_status
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.server import LocalExchange
from tests.support.desk import BTC, settings, walk
from tests.support.mortal import Killed
from tests.support.virtual.desk import VirtualWorld, play_in_world

KEYS = Keys("main")
ETH = "ETH/USDT"
GRID: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 8, "start": "balanced"}
Work = Callable[[BinanceDesk, GridTrader], Awaitable[Any]]


def play(work: Work, symbols: Sequence[str] = (BTC,), **changes: Any) -> None:
    """A balanced grid that has bought its base and rests its orders."""

    async def opened(world: VirtualWorld) -> None:
        desk = world.worker()
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        trader = await desk.trader()
        await trader.tick()
        await trader.tick()
        await work(desk, trader)

    candles = {BTC: walk(200), ETH: walk(200, seed=2, start="2300")}
    play_in_world(settings(symbols=dict.fromkeys(symbols, GRID), **changes), candles, opened)


async def sells(desk: BinanceDesk) -> list[Order]:
    """The resting sells, lowest price first."""
    orders = [order for order in await desk.client.open_orders(BTC) if order.side is Side.SELL]
    return sorted(orders, key=lambda order: order.price)


async def cells(desk: BinanceDesk) -> list[Cell]:
    """All cells."""
    return [Cell.model_validate_json(text) for text in await desk.desk.redis.hvals(KEYS.cells(BTC))]


async def book_of(desk: BinanceDesk) -> Book:
    """The ledger, which must be exact."""
    book = Book.model_validate_json(await desk.desk.redis.get(KEYS.book(BTC)) or "")
    assert value(book, Decimal("41234.56")).identity_error == 0
    assert book.base == sum(cell.qty for cell in await cells(desk))
    assert book.basis == sum(cell.basis for cell in await cells(desk))
    return book


async def account(desk: BinanceDesk) -> Decimal:
    """Base on the account."""
    held = (await desk.client.balances())["BTC"]
    return held.free + held.locked


async def told(desk: BinanceDesk) -> list[str]:
    """The kinds of the events about base, oldest first."""
    events = await views.events(desk.desk.redis, KEYS, 100)
    return [str(one.type) for one in reversed(events) if str(one.type).startswith("base_")]


def text_of(view: StatusView) -> str:
    """The status as a terminal shows it, on one line."""
    out = StringIO()
    Console(file=out, width=200).print(status_table(view))
    return " ".join(out.getvalue().split())


async def cancel_and_withdraw(desk: BinanceDesk, number: int = 2) -> Decimal:
    """Somebody cancels the nearest sells by hand and withdraws their base; its amount."""
    gone = (await sells(desk))[:number]
    for order in gone:
        await desk.exchange.cancel_order(order.exchange_id, BTC)
    qty = sum((order.qty for order in gone), Decimal(0))
    await desk.server.transfer("BTC", -qty)
    return qty


async def minutes(desk: BinanceDesk, trader: GridTrader, count: int) -> None:
    """Six ticks a minute, then the monitor."""
    for _ in range(count):
        for _ in range(6):
            await trader.tick()
            await asyncio.sleep(10)
        await run_monitor(desk.desk)


def test_withdrawn_base_leaves_the_books_at_cost() -> None:
    """The cells that lost it buy again; the others keep their lots and orders. Profit and cash stay as they were."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        before, resting = await book_of(desk), await sells(desk)
        used = (await desk.desk.allocator.get_allocation_status(BTC)).used_units
        qty = await cancel_and_withdraw(desk)
        await minutes(desk, trader, 1)
        assert (await book_of(desk)).base == before.base, "one comparison proves nothing"
        assert await told(desk) == []
        await minutes(desk, trader, 1)
        assert await told(desk) == ["base_short"]
        view = await read_status(desk.desk.settings, desk.desk.redis)
        (coin,) = view.base
        assert (coin.coin, coin.held, coin.account) == ("BTC", before.base, before.base - qty)
        assert (coin.short, coin.confirmed) == (qty, True)
        assert f"The exchange holds {plain(coin.account)} BTC, but the cells hold {plain(coin.held)} BTC." in text_of(
            view
        )
        await trader.tick()
        after = await book_of(desk)
        assert (before.base - after.base, after.missing_base) == (qty, qty)
        assert after.base == await account(desk)
        assert after.missing == before.basis - after.basis > 0
        assert (after.cash, after.grid_profit) == (before.cash, before.grid_profit)
        share = await desk.desk.allocator.get_allocation_status(BTC)
        assert share.used_units == sum(cell.used_units for cell in await cells(desk)) < used
        assert (await told(desk))[1:] == ["base_missing", "base_missing"]
        empty = [cell for cell in await cells(desk) if not cell.qty]
        assert all(cell.state is not CellState.HOLDING for cell in empty)
        assert [order.client_id for order in resting[2:]] == [order.client_id for order in await sells(desk)]
        await minutes(desk, trader, 3)
        assert (await told(desk))[3:] == ["base_restored"]
        view = await read_status(desk.desk.settings, desk.desk.redis)
        assert view.missing == after.missing
        assert view.identity_error == view.base[0].short == 0
        assert view.equity_change == view.grid_profit + view.floating - view.missing
        shown = json.loads(view.model_dump_json())
        assert (shown["missing"], shown["symbols"][0]["missing_base"]) == (plain(after.missing), plain(qty))
        assert (shown["base"][0]["coin"], shown["base"][0]["held"]) == ("BTC", plain(after.base))
        assert f"{plain(qty)} BTC left the account without a sell" in text_of(view)
        assert (await audit_funds(desk.desk.redis, KEYS, [BTC], desk.client)).differences == ()

    play(work)


def test_what_is_the_owners_own_is_no_fault() -> None:
    """More on the account than in the cells, before and after: nothing is told, and nothing is touched."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await desk.server.transfer("BTC", Decimal(1))
        await minutes(desk, trader, 2)
        await desk.server.transfer("BTC", Decimal("-0.5"))
        before = await book_of(desk)
        await minutes(desk, trader, 4)
        assert (await book_of(desk)).base == before.base
        assert await told(desk) == []

    play(work)


def test_unbooked_fills_are_no_missing_base() -> None:
    """The monitor runs right after sells filled, minute after minute, before any tick has seen them."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        for _ in range(3):
            for _ in range(6):
                await trader.tick()
                await asyncio.sleep(10)
            await desk.server.fill((await sells(desk))[0].client_id)
            await run_monitor(desk.desk)
            assert (await read_status(desk.desk.settings, desk.desk.redis)).base[0].short > 0
        await minutes(desk, trader, 2)
        assert await told(desk) == []
        assert (await book_of(desk)).missing_base == 0

    play(work)


def test_an_order_in_doubt_is_waited_for() -> None:
    """Base is missing, and an order has no answer: told, but not booked before the order's outcome is known."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        qty = await cancel_and_withdraw(desk)
        buy = next(order for order in await desk.client.open_orders(BTC) if order.side is Side.BUY)
        await desk.exchange.cancel_order(buy.exchange_id, BTC)
        await desk.server.inject(Fault(kind=FaultKind.ERROR_BEFORE, method="POST", path="order", status=502), count=1)
        await minutes(desk, trader, 3)
        doubtful = [json.loads(text) for text in await desk.desk.redis.hvals(KEYS.intents(BTC))]
        assert [one for one in doubtful if one["state"] in ("INTENT", "UNKNOWN")]
        assert await told(desk) == ["base_short"]
        assert (await book_of(desk)).missing_base == 0
        await desk.server.clear_faults()
        await asyncio.sleep(300)
        await minutes(desk, trader, 4)
        assert (await book_of(desk)).missing_base == qty

    play(work, trading={"request_valid_seconds": "5", "protection_seconds": "290", "lease_seconds": 10})


def test_nothing_is_booked_before_every_symbol_has_ticked() -> None:
    """The other symbol does not tick for a while, and one that the exchange does not list is not waited for."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        other = await desk.trader(ETH)
        desk.desk.markets.add(await desk.client.markets([BTC, ETH]))
        await other.tick()
        await minutes(desk, trader, 1)
        qty = await cancel_and_withdraw(desk)
        await minutes(desk, trader, 4)
        assert await told(desk) == ["base_short"]
        await other.tick()
        await minutes(desk, trader, 1)
        await trader.tick()
        assert (await book_of(desk)).missing_base == qty
        await cancel_and_withdraw(desk, 1)
        assert isinstance(desk.server, LocalExchange)
        await desk.server.delist(ETH)
        desk.desk.markets.read_soon()
        await minutes(desk, trader, 4)
        assert (await book_of(desk)).missing_base > qty

    play(work, symbols=[BTC, ETH])


def test_the_audit_names_it() -> None:
    """With the exchange at once, beyond what unbooked fills explain; without it once the guard has confirmed it."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        redis, held = desk.desk.redis, (await book_of(desk)).base
        await desk.server.fill((await sells(desk))[0].client_id)
        report = await audit_funds(redis, KEYS, [BTC], desk.client)
        assert {one.cause for one in report.differences} == {Cause.LOST_ORDER}
        await trader.tick()
        qty = await cancel_and_withdraw(desk)
        await trader.tick()
        report = await audit_funds(redis, KEYS, [BTC], desk.client)
        (short,) = report.drift
        assert (short.subject, short.cause) == ("BTC", Cause.BASE_SHORT)
        assert short.expected - short.found == qty
        assert short.found == await account(desk) < held
        assert (await audit_funds(redis, KEYS, [BTC])).drift == ()
        await minutes(desk, trader, 2)
        (short,) = (await audit_funds(redis, KEYS, [BTC])).drift
        assert (short.subject, short.cause) == ("BTC", Cause.BASE_SHORT)

    play(work)


def test_base_that_came_back_is_taken_in_once() -> None:
    """Half of it, then the other half, at its cost; what cannot be right is refused before anything is written."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        async def returned(qty: Decimal, **how: bool) -> BaseReturn:
            waiting = asyncio.create_task(return_base(desk.desk, BTC, qty, **how))
            await asyncio.wait({waiting}, timeout=2)
            if not waiting.done():
                await trader.tick()
            return await waiting

        await minutes(desk, trader, 1)
        start = await book_of(desk)
        with pytest.raises(ConfigError, match="no BTC is missing in the books"):
            await returned(Decimal("0.001"))
        with pytest.raises(ConfigError, match=r"symbol = XRP/USDT: is not traded\. Use one of: BTC/USDT"):
            await return_base(desk.desk, "XRP/USDT", Decimal(1))
        qty = await cancel_and_withdraw(desk)
        await minutes(desk, trader, 3)
        gone = await book_of(desk)
        assert gone.missing_base == qty
        with pytest.raises(ConfigError, match=r"the account holds 0 BTC more than the cells\. Deposit BTC first"):
            await returned(qty / 2)
        await desk.server.transfer("BTC", qty)
        with pytest.raises(ConfigError, match=r"only .* BTC is missing in the books"):
            await returned(qty * 2)
        done = await returned(qty / 2)
        assert (done.qty, done.cost, done.is_booked) == (qty / 2, gone.missing / 2, True)
        with pytest.raises(ConfigError, match="the same amount was returned a short time ago"):
            await returned(qty / 2)
        sold = sum(order.qty for order in await sells(desk))
        await returned(qty / 2, again=True)
        await minutes(desk, trader, 2)
        back = await book_of(desk)
        assert back.missing == back.missing_base == 0
        assert (back.base, back.basis, back.cash) == (start.base, start.basis, start.cash)
        assert back.base == await account(desk)
        assert sum(order.qty for order in await sells(desk)) > sold, "it is sold again"
        assert (await told(desk))[-2:] == ["base_returned", "base_returned"]
        assert (await audit_funds(desk.desk.redis, KEYS, [BTC], desk.client)).differences == ()

    play(work)


def test_a_return_without_a_tick_waits() -> None:
    """It is not lost, and a second one is refused as long as the first is not booked."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        qty = await cancel_and_withdraw(desk)
        await minutes(desk, trader, 3)
        await desk.server.transfer("BTC", qty)
        assert not (await return_base(desk.desk, BTC, qty, seconds=5)).is_booked
        with pytest.raises(StateError, match="another return of BTC/USDT waits"):
            await return_base(desk.desk, BTC, qty, seconds=5)
        await trader.tick()
        assert (await book_of(desk)).missing_base == 0

    play(work)


def test_two_monitors_at_once_find_it_once() -> None:
    """The slower one read a record that is no longer the newest: it changes nothing. A killed tick books it once."""

    async def work(desk: BinanceDesk, trader: GridTrader) -> None:
        await minutes(desk, trader, 1)
        qty = await cancel_and_withdraw(desk)
        await minutes(desk, trader, 1)
        for _ in range(6):
            await trader.tick()
            await asyncio.sleep(10)
        await asyncio.gather(run_monitor(desk.desk), run_monitor(desk.desk))
        assert await told(desk) == ["base_short"]
        assert len(await desk.desk.redis.hvals(KEYS.corrections(BTC))) == 1

        def die(step: str) -> None:
            if step == "recorded":
                raise Killed

        dying = await desk.trader(owner="test", checkpoint=die)
        with pytest.raises(Killed):
            await dying.tick()
        assert (await book_of(desk)).missing_base == qty
        await minutes(desk, trader, 3)
        assert (await book_of(desk)).missing_base == qty
        assert not await desk.desk.redis.exists(KEYS.corrections(BTC))

    play(work)
