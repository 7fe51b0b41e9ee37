"""Redis lost under a running worker, clocks that disagree, one order of many that never arrived: in virtual time."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tasks.settings.model import Settings
from tasks.tick.monitor import rebalance, run_monitor
from tasks.tick.recover import open_books
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.desk import BTC, walk
from tests.support.fault_check import check_books, settle
from tests.support.mortal import Killed, Mortal
from tests.support.virtual.desk import VirtualWorld, play_in_world


def own(trading: Mapping[str, Any] | None = None, **grid: Any) -> Settings:
    """One symbol; all else as it is by itself."""
    symbols = {BTC: {"grid": "geometric", "range_pct": "0.04", "cells": 10} | grid}
    return Settings.model_validate({"symbols": symbols, "trading": trading or {}})


async def journal(desk: BinanceDesk) -> Counter[str]:
    """How many journalled orders are in which state."""
    texts: Any = await desk.desk.redis.hvals(desk.desk.keys.intents(BTC))
    return Counter(json.loads(text)["state"] for text in texts)


async def die_with_orders_on_the_way(desk: BinanceDesk, seconds: float) -> None:
    """The first tick of a grid dies while its requests are under way; they arrive so many seconds later."""
    slow = Fault(kind=FaultKind.DELAY_BEFORE, method="POST", path="order", seconds=seconds)
    await desk.server.inject(slow, count=99)

    def dying(step: str) -> None:
        if step == "reserved":
            ticking.life, ticking.last_breath = ticking.lived + 1, 0.5

    ticking = Mortal((await desk.trader(owner="dies", checkpoint=dying)).tick(), 0, Killed)
    with pytest.raises(Killed):
        await ticking
    await desk.server.clear_faults()


@pytest.mark.parametrize("first", ["the minute's look", "a rebalance", "a tick"])
def test_whoever_is_first_after_redis_was_lost_orders_nothing_twice(first: str) -> None:
    """A worker died with orders on their way; only a tick opens the books, once those have arrived or expired."""

    async def work(world: VirtualWorld) -> None:
        dead, server = world.worker(), world.exchange.server
        await dead.desk.allocator.rebalance_if_needed(reason="start")
        await die_with_orders_on_the_way(dead, seconds=3)
        await dead.desk.redis.flushall()
        other = world.worker()
        if first == "the minute's look":
            await run_monitor(other.desk)
        elif first == "a rebalance":
            report = await rebalance(other.desk, force=True, reason="manual")
            assert report.outcome == "the pot is not open"
        trader = await other.trader(owner="survives")
        await settle(trader, pause=2)
        await check_books(other, await server.record())
        for _ in range(20):
            await server.advance(2)
            await trader.tick()
        await settle(trader, pause=2)
        await check_books(other, await server.record())

    play_in_world(own(quote_per_cell="100", start="balanced"), {BTC: walk(60, seed=4)}, work)


def test_a_slow_lookup_proves_nothing() -> None:
    """An order is looked for in vain while its request is still on the way; the answer comes after the protection.

    What counts is when the exchange was asked: the order came to stand in between.
    """
    hasty = {"request_valid_seconds": "4", "protection_seconds": "6"}

    async def work(world: VirtualWorld) -> None:
        dead, server = world.worker(), world.exchange.server
        await dead.desk.allocator.rebalance_if_needed(reason="start")
        await die_with_orders_on_the_way(dead, seconds=2.5)
        await dead.desk.redis.delete(dead.desk.keys.lease(BTC))
        await server.inject(Fault(kind=FaultKind.DELAY_AFTER, method="GET", path="order", seconds=8), count=99)
        other = world.worker()
        trader = await other.trader(owner="survives")
        before = len((await server.record()).orders)
        await trader.tick()
        assert before == 0, "the orders arrived too early: the test shows nothing"
        assert len((await server.record()).orders) > 10, "the orders of the dead worker, and those of this tick"
        await server.clear_faults()
        await settle(trader, pause=1)
        await check_books(other, await server.record())

    play_in_world(own(hasty, cells=20, start="balanced"), {BTC: walk(60, seed=4)}, work)


def test_a_recovery_may_take_longer_than_the_lease() -> None:
    """Whoever recovers keeps its lease; two that open the books at once both find them in order."""

    async def work(world: VirtualWorld) -> None:
        desk, server = world.worker(), world.exchange.server
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        first = await desk.trader()
        await first.tick()
        await settle(first, pause=1)
        await desk.desk.redis.flushall()
        long = Fault(kind=FaultKind.DELAY_AFTER, method="GET", path="allOrders", seconds=8)
        await server.inject(long, count=99)
        markets = await desk.client.markets([BTC])
        await asyncio.gather(*(open_books(desk.desk, markets, owner) for owner in ("one", "two")))
        asked = [row for row in (await server.record()).requests if row.path.endswith("allOrders")]
        assert len(asked) == 2, "at the first start and once in the recovery"
        await server.clear_faults()
        other = await desk.trader(owner="survives")
        await settle(other, pause=1)
        await check_books(desk, await server.record())

    play_in_world(own({"lease_seconds": 5}, cells=20, start="balanced"), {BTC: walk(60, seed=4)}, work)


@pytest.mark.parametrize("drift_seconds", [-600, -120, -30, 30, 120])
def test_fills_are_booked_however_far_the_clocks_are_apart(drift_seconds: int) -> None:
    """The exchange's clock is ahead of ours or behind: orders are signed in its time, intents kept in ours."""

    async def work(world: VirtualWorld) -> None:
        desk, server = world.worker(), world.exchange.server
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        await server.drift(drift_seconds * 1000)
        trader = await desk.trader()
        for _ in range(60):
            await server.advance(1)
            await trader.tick()
            await asyncio.sleep(3)
        await settle(trader, pause=2)
        record = await server.record()
        assert len(record.trades) >= 2
        assert any(order.side == "SELL" for order in record.orders)
        await check_books(desk, record)

    play_in_world(own(start="flat"), {BTC: walk(200, seed=4)}, work)


def test_one_order_of_sixty_that_never_arrived_is_given_up() -> None:
    """Sixty bought at once, one request lost: the trades of the others, once booked, are not taken for its own."""

    async def work(world: VirtualWorld) -> None:
        desk, server = world.worker(), world.exchange.server
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        lost = Fault(kind=FaultKind.DROP_BEFORE, method="POST", path="order")
        await server.inject(lost, count=1, skip=15)
        trader = await desk.trader()
        await trader.tick()
        assert (await journal(desk))["UNKNOWN"] == 1
        for _ in range(10):
            await asyncio.sleep(5)
            await trader.tick()
        assert set(await journal(desk)) == {"OPEN"}
        before = len((await server.record()).requests)
        await trader.tick()
        assert len((await server.record()).requests) - before == 2
        await check_books(desk, await server.record())

    busy = Config(orders_per_10s=10_000, weight_limit=1_000_000)
    play_in_world(own(start="balanced", cells=60, range_pct="0.1"), {BTC: walk(50, seed=4)}, work, busy)
