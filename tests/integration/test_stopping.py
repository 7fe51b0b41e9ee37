"""What a stop does to the pot and what it leaves: holds, faults while winding down, the orders it names."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis as sync_redis
from redis.exceptions import ConnectionError as RedisConnectionError

from flows.runtime.trading import TradingService
from tasks.base.clock import Clock
from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control.steps import stop
from tasks.exchange.order_ids import OrderId, Purpose, account_tag
from tasks.funds import store
from tasks.settings.model import Settings
from tasks.tick import order_cancelling
from tasks.tick.clock_check import check_clock
from tasks.tick.desk import Desk
from tasks.tick.trader import GridTrader
from tests.support.desk import BTC, open_desk, settings, walk

ETH = "ETH/USDT"
KEYS = Keys("main")


def two_symbols(url: str) -> Settings:
    """Two grids on a market of made-up prices."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 6, "start": "flat"}
    return settings(redis_url=url, symbols={BTC: grid, ETH: grid}, paper={"market": "synthetic"})


@pytest.fixture
def trading(redis_url: str) -> Iterator[TradingService]:
    """A worker's trading side with resting orders in both symbols."""
    found = TradingService(two_symbols(redis_url))
    try:
        for symbol in (BTC, ETH):
            found.run_window(symbol, None, lambda: True)  # one tick, then it is cancelled
        assert all(journal(redis_url))
        yield found
    finally:
        found.close()


def journal(url: str) -> list[int]:
    """Journalled orders of each symbol."""
    with sync_redis.Redis.from_url(url) as client:
        return [int(client.hlen(KEYS.intents(symbol))) for symbol in (BTC, ETH)]


def test_a_clock_fault_in_one_symbol_does_not_end_the_stop_of_the_others(
    trading: TradingService, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look at the clock fails; both symbols are wound down all the same."""
    faults = [StateError("this machine's clock is 9.0 s off Redis's")]

    async def once(redis: RedisClient, clock: Clock) -> None:
        if faults:
            raise faults.pop()
        await check_clock(redis, clock)

    monkeypatch.setattr(order_cancelling, "check_clock", once)
    report = trading.graceful_stop()
    assert faults == []
    assert report.is_clean
    assert report.as_json() == {"orders_open": [], "reserved": "0"}
    assert journal(redis_url) == [0, 0]


def test_a_stop_names_every_order_that_it_leaves(
    trading: TradingService, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One symbol cannot be ticked: its orders are listed with what they hold, and the other's are gone."""
    ticked = GridTrader.tick

    async def not_eth(trader: GridTrader, *arguments: Any) -> Any:
        if trader.symbol == ETH:
            raise StateError("not today")
        return await ticked(trader, *arguments)

    monkeypatch.setattr(order_cancelling, "MAX_SECONDS", 1.0)
    monkeypatch.setattr(GridTrader, "tick", not_eth)
    report = trading.graceful_stop()
    gone, left = journal(redis_url)
    assert (gone, len(report.orders_open)) == (0, left)
    assert {one.symbol for one in report.orders_open} == {ETH}
    assert report.reserved > 0
    (first, *_) = report.as_json()["orders_open"]
    assert set(first) == {"symbol", "id", "side", "price", "qty"}
    assert "order(s) may be open: ETH/USDT buy" in str(report)


def test_a_stop_waits_for_a_redis_that_is_away_for_a_moment(
    trading: TradingService, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold and the report are asked for again; the stop does not end for it."""
    real, faults = store.registered_symbols, [RedisConnectionError("away"), RedisConnectionError("away")]

    async def away(client: RedisClient, *, keys: Keys) -> list[str]:
        if faults:
            raise faults.pop()
        return await real(client, keys=keys)

    monkeypatch.setattr(store, "registered_symbols", away)
    assert trading.graceful_stop().is_clean
    assert faults == []
    assert journal(redis_url) == [0, 0]


def test_a_stop_ends_only_when_the_exchange_lists_no_order_of_ours(
    trading: TradingService, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late order of ours rests after the journal is empty: it is found, journalled and cancelled."""
    is_empty, late = order_cancelling._has_no_orders, OrderId(account_tag("main"), "0abcd", 1, Purpose.BUY, 7)
    sent: list[str] = []

    async def with_late_order(desk: Desk, symbol: str) -> bool:
        found = await is_empty(desk, symbol)
        if found and symbol == BTC and not sent:
            sent.append(str(late))
            price = float((await desk.exchange.orders_and_ticker(BTC))[1].bid) * 0.99
            exchange: Any = desk.exchange
            await exchange._exchange.create_order(
                BTC, "limit", "buy", 0.001, round(price, 2), {"clientOrderId": sent[0]}
            )
        return found

    async def resting() -> list[str]:
        return [order.client_id for order in await (await trading.desk()).exchange.open_orders(BTC)]

    monkeypatch.setattr(order_cancelling, "_has_no_orders", with_late_order)
    assert trading.graceful_stop().is_clean
    assert sent
    assert trading.run(resting()) == []


def test_a_hold_of_another_process_outlasts_a_start_and_an_end(trading: TradingService, redis_url: str) -> None:
    """Each owner ends its own hold only; nothing but time ends that of an owner who was killed."""

    async def hold(owner: str, seconds: float) -> int:
        desk = await trading.desk()
        return await store.hold(desk.redis, keys=KEYS, owner=owner, ms=int(seconds * 1000))

    async def stopped() -> bool:
        desk = await trading.desk()
        return (await desk.allocator.get_global_status_summary()).stopped

    assert trading.run(hold("other", 60)) == 1
    starting = TradingService(two_symbols(redis_url))
    try:
        starting.open()
        assert trading.run(stopped())
        assert starting.graceful_stop().is_clean
        assert trading.run(stopped()), "it ended another's hold"
    finally:
        starting.close()
    trading.run_window(BTC, None, lambda: True)
    assert journal(redis_url) == [0, 0]
    assert trading.run(hold("killed", 0.3)) == 2
    assert trading.run(hold("other", 0)) == 1
    while trading.run(stopped()):
        pass
    trading.run_window(BTC, None, lambda: True)
    assert journal(redis_url)[0] > 0


@pytest.mark.parametrize("kind", ["hold", "operator"])
async def test_a_tick_under_way_places_nothing_once_the_pot_is_stopped(redis: RedisClient, kind: str) -> None:
    """It has read and planned before the stop; the script that grants money has the last word, for sells too."""
    own = settings()
    desk = await open_desk(redis, own, {BTC: walk(30)})
    trader = await desk.trader()
    await trader.tick()
    before = await redis.hkeys(KEYS.intents(BTC))

    late = await desk.trader()
    reserve = desk.desk.allocator.reserve

    async def stopped_first(*arguments: Any) -> Any:
        if kind == "hold":
            await store.hold(redis, keys=KEYS, owner="other", ms=60_000)
        else:
            await stop(redis, own)
        return await reserve(*arguments)

    desk.desk.allocator.reserve = stopped_first  # type: ignore[method-assign,assignment]
    await desk.exchange.advance(1)
    report = await late.tick()
    assert report.placed == 0
    assert set(await redis.hkeys(KEYS.intents(BTC))) <= set(before)
    assert "PAUSED" in report.refused.values()
    await desk.close()
