"""The monitor's loop: it checks each minute whatever fails, shares the pot by new inputs, and counts what lasts."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from flows.runtime import background
from flows.runtime.background import each_minute
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Order, OrderStatus, Side
from tasks.exchange.order_ids import OrderId, Purpose, account_tag
from tasks.ledger import steps
from tasks.ledger.audit import Cause
from tasks.ledger.steps import watch_drift
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.monitor import run_monitor
from tasks.views import store as views
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.virtual.loop import virtual_clock
from tests.support.virtual.paper import PaperWorld, play_on_paper

KEYS = Keys("main")
PRICES = {"BTC/USDT": "42000", "ETH/USDT": "2280"}


@pytest.mark.virtual_time
async def test_it_checks_each_minute_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The third check fails: it is logged with its traceback, and the fourth comes a minute later."""
    seen: list[float] = []

    async def check() -> None:
        seen.append(virtual_clock().passed)
        if len(seen) == 3:
            raise ValueError("no answer")

    loop = asyncio.create_task(each_minute(check))
    await asyncio.sleep(5.5 * 60)
    loop.cancel()
    assert seen == [60, 120, 180, 240, 300]
    (failed,) = [record for record in caplog.records if record.name == background.__name__]
    assert failed.exc_info is not None


def shared(weights: Sequence[int]) -> Settings:
    """Two flat grids that share the pot by weight."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 10, "start": "flat"}
    symbols = {name: grid | {"weight": weight} for name, weight in zip(PRICES, weights, strict=True)}
    return Settings.model_validate({"allocation_strategy": "weighted", "symbols": symbols})


async def check(desk: Desk) -> None:
    """The monitor's check."""
    await run_monitor(desk)


def test_it_shares_the_pot_once_inputs_have_changed() -> None:
    """New weights are published and nobody rebalances: the next check does, by every worker at once, and once."""

    async def work(world: PaperWorld) -> None:
        operator = world.client("operator")
        await publish(operator, world.settings)
        desks = [trader.desk for trader in world.traders.values()]
        loops = [asyncio.create_task(each_minute(partial(check, desk))) for desk in desks]
        await world.wait(70)
        before = await desks[0].allocator.get_global_status_summary()
        await publish(operator, shared((3, 1)))
        await world.wait(65)
        after = await desks[0].allocator.get_global_status_summary()
        await world.wait(130)
        last = await desks[0].allocator.get_global_status_summary()
        for loop in loops:
            loop.cancel()
        allocated = [share.allocated_units for share in after.symbols.values()]
        assert before.symbols["BTC/USDT"].allocated_units == 4_750 * 10**8
        assert sorted(allocated) == [2_375 * 10**8, 7_125 * 10**8]
        assert (after.version, last.version) == (before.version + 1, before.version + 1)
        await world.check_books()

    candles = {symbol: walk(60, seed, price, step_bp=5) for seed, (symbol, price) in enumerate(PRICES.items())}
    play_on_paper(shared((1, 1)), candles, work)


class Listing:
    """The exchange, which also lists an order of ours for the first `times` readings."""

    def __init__(self, exchange: Any, times: int) -> None:
        self._exchange, self._times = exchange, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    async def open_orders(self, symbol: str) -> list[Order]:
        found: list[Order] = await self._exchange.open_orders(symbol)
        self._times -= 1
        if self._times < 0:
            return found
        name = str(OrderId(account_tag("main"), "0abcd", 1, Purpose.BUY, 7))
        more = Order(
            client_id=name,
            exchange_id="7",
            symbol=symbol,
            side=Side.BUY,
            price=Decimal(100),
            qty=Decimal(1),
            filled=Decimal(0),
            status=OrderStatus.OPEN,
            at_ms=1,
        )
        return [*found, more]


async def test_the_audit_of_the_status_run_counts_what_lasts(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that was just cancelled is listed once: no drift. One that stays listed is an error and an event."""
    monkeypatch.setattr(steps, "_AGAIN_SECONDS", 0)
    desk = await open_desk(redis, settings(), {BTC: walk(30)})
    await (await desk.trader()).tick()
    exchange: Any
    for times, causes in ((1, []), (2, [Cause.ORPHAN_ORDER])):
        exchange = Listing(desk.client, times)
        report = await watch_drift(redis, KEYS, [BTC], exchange)
        assert [one.cause for one in report.drift] == causes
    told = [event for event in await views.events(redis, KEYS, 50) if event.type == EventKind.FUNDS_DRIFT]
    assert len(told) == 1
    await desk.close()
