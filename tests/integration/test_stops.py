"""A symbol's stops over the loopback exchange: they sell through the journal, hold, and wait for an operator."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from tasks.base.keys import Keys
from tasks.control.steps import put_in_force, resume
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.ledger.steps import audit_funds
from tasks.risk.models import StopCode
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tasks.views.steps import read_status
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import open_orders
from tests.support.candles import candles_through
from tests.support.desk import BTC, settings
from tests.support.virtual.desk import VirtualWorld, play_in_world

KEYS = Keys("main")
GRID: dict[str, Any] = {"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 8, "start": "balanced"}
FALL = ("42000", "41600", "41100", "40600", "40100", "39500", "38900", "39300", "41000", "42500", "43500", "44500")
Work = Callable[[VirtualWorld, BinanceDesk, GridTrader], Awaitable[None]]


def play(work: Work, prices: Sequence[str] = FALL, **rules: Any) -> None:
    """A balanced grid from 40000 to 44000 at 42000, with these rules, and whatever the candles bring."""

    async def opened(world: VirtualWorld) -> None:
        desk = world.worker()
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        trader = await desk.trader()
        await trader.tick()
        await trader.tick()
        await work(world, desk, trader)
        await audited(desk)

    play_in_world(settings(symbols={BTC: GRID | rules}), {BTC: candles_through(prices)}, opened)


async def minute(desk: BinanceDesk, trader: GridTrader) -> TickReport:
    """One candle, then a tick that books and one that follows."""
    await desk.server.advance(1)
    await trader.tick()
    return await trader.tick()


async def until_fired(desk: BinanceDesk, trader: GridTrader) -> TickReport:
    """Trade on until a stop holds."""
    for _ in range(len(FALL)):
        report = await minute(desk, trader)
        if report.marks.fired:
            return report
    raise AssertionError("no stop fired")


async def audited(desk: BinanceDesk) -> Book:
    """The ledger, exact, and equal to the account."""
    book = Book.model_validate_json(await desk.desk.redis.get(KEYS.book(BTC)) or "")
    assert value(book, Decimal("41234.56")).identity_error == 0
    held = (await desk.client.balances()).get("BTC")
    assert book.base == (held.free + held.locked if held else 0)
    assert (await audit_funds(desk.desk.redis, KEYS, [BTC], desk.client)).drift == ()
    return book


async def ours(desk: BinanceDesk) -> list[str]:
    """Client ids of our open orders."""
    return [order.client_id for order in open_orders(await desk.server.record())]


def test_a_stop_loss_sells_everything_and_holds_until_an_operator_resumes() -> None:
    """It is named in the status, the price may come back, and the money is free again."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        redis = desk.desk.redis
        report = await until_fired(desk, trader)
        assert report.marks.fired is StopCode.STOP_LOSS_PRICE
        await trader.tick()
        await trader.tick()
        book = await audited(desk)
        assert book.base < Decimal("0.00001"), "all but dust is sold"
        assert await ours(desk) == []
        exits = [one for one in (await desk.server.record()).orders if _purpose(one.client_id) is Purpose.EXIT]
        assert exits
        status = (await read_status(desk.desk.settings, redis)).symbols[0]
        assert (status.stop, status.reasons[0].code) == ("stop loss price", "STOP_FIRED")
        assert "39500 is at or below 39600" in status.reasons[0].why
        for _ in range(5):
            report = await minute(desk, trader)
        assert report.price > 42_000, "the price is back in the grid"
        assert set(report.idle.values()) == {"STOP_FIRED"}
        assert await ours(desk) == []
        await resume(redis, desk.desk.settings, [BTC])
        report = await trader.tick()
        assert (report.marks.fired, report.placed > 0) == (StopCode.NONE, True)

    play(work, stop_loss_price="39600")


def _purpose(client_id: str) -> Purpose | None:
    named = parse_order_id(client_id)
    return named.purpose if named else None


def test_a_stop_that_keeps_cancels_all_orders_and_sells_nothing() -> None:
    """What is held stays on the account, through later ticks too."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await until_fired(desk, trader)
        await trader.tick()
        held = (await audited(desk)).base
        assert held > 0
        assert await ours(desk) == []
        for _ in range(3):
            await minute(desk, trader)
        assert (await audited(desk)).base == held
        assert await ours(desk) == []

    play(work, stop_loss_price="39600", stop_exit="keep")


@pytest.mark.parametrize("killed", [False, True])
def test_a_stop_outlives_its_worker_and_a_rebalance(killed: bool) -> None:
    """Another worker sells what the first one left. New settings do not arm it again."""

    async def work(world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        await until_fired(desk, trader)
        if killed:
            await desk.desk.redis.delete(KEYS.lease(BTC))
        else:
            await trader.end_lease()
        await put_in_force(desk.desk.redis, settings(symbols={BTC: GRID | {"stop_loss_price": "30000"}}))
        other = world.worker()
        second = await other.trader(owner="other")
        for _ in range(3):
            report = await second.tick()
        assert report.marks.fired is StopCode.STOP_LOSS_PRICE
        assert (await audited(other)).base < Decimal("0.00001")
        assert await ours(other) == []

    play(work, stop_loss_price="39600")


def test_a_loss_limit_and_its_amount_after_a_resume() -> None:
    """The loss counts from the resume, so the symbol trades on."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        report = await until_fired(desk, trader)
        assert report.marks.fired is StopCode.STOP_LOSS_QUOTE
        await trader.tick()
        lost = -value(await audited(desk), report.price).equity_change
        assert lost >= 30
        await resume(desk.desk.redis, desk.desk.settings, [BTC])
        await trader.tick()
        report = await trader.tick()
        assert report.marks.fired is StopCode.NONE
        assert -report.marks.base >= 30

    play(work, stop_loss_quote="30")


def test_only_levels_within_reach_have_orders_and_reserve_money() -> None:
    """Three per cent on either side; the others say why. They follow the price."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        for _ in range(4):
            report = await minute(desk, trader)
            reach = report.price * Decimal("0.02")
            resting = open_orders(await desk.server.record())
            assert resting
            assert all(abs(order.price - report.price) <= reach * Decimal("1.25") for order in resting)
            assert "OUT_OF_REACH" in set(report.idle.values())

    play(work, activation_pct="0.02")


def test_a_grid_waits_for_its_trigger_price() -> None:
    """Nothing is bought before, not even the base of a balanced start."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        assert (await desk.server.record()).orders == ()
        report = await minute(desk, trader)
        assert set(report.idle.values()) == {"NOT_STARTED"}
        while report.price > 41_000:
            report = await minute(desk, trader)
        assert (await audited(desk)).base > 0

    play(work, trigger_price="41000")


def test_the_settings_may_allow_fewer_open_orders_than_the_exchange() -> None:
    """The nearest levels have them."""

    async def work(_world: VirtualWorld, desk: BinanceDesk, trader: GridTrader) -> None:
        for _ in range(3):
            await minute(desk, trader)
            assert len(await ours(desk)) <= 4
        assert len(await ours(desk)) >= 3

    play(work, max_open_orders=4)
