"""A stop while twenty symbols trade and the exchange is slow: nothing of ours is left, also after a kill half-way."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks.base.keys import Keys
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.settings.model import Settings
from tasks.tick.order_cancelling import MAX_SECONDS, cancel_all_orders
from tasks.tick.stopping import StopReport, held
from tasks.tick.trader import GridTrader, LeaseHeld
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.desk import settings, walk
from tests.support.virtual.desk import VirtualWorld, play_in_world
from tests.support.virtual.loop import virtual_clock

SYMBOLS = [f"S{number:02}/USDT" for number in range(20)]
KEYS = Keys("main")
GRID = {"grid": "geometric", "range_pct": "0.04", "cells": 6, "start": "balanced", "quote_per_cell": "20"}
SLOW = Fault(kind=FaultKind.DELAY_AFTER, seconds=1.5)  # done at once, answered late


def own() -> Settings:
    """Twenty grids; a request is valid as long as the slow exchange needs."""
    return settings(symbols=dict.fromkeys(SYMBOLS, GRID), allocation_strategy="equal")


async def trader_of(desk: BinanceDesk, symbol: str, owner: str) -> GridTrader:
    """A trader of the symbol."""
    return await desk.trader(symbol, owner)


async def trade(desk: BinanceDesk, symbol: str) -> None:
    """Tick for ever, as a window does."""
    trader = await trader_of(desk, symbol, f"window {symbol}")
    while True:
        with suppress(LeaseHeld):
            await trader.tick()
        await asyncio.sleep(1)


async def stop(desk: BinanceDesk, owner: str) -> StopReport:
    """What `gridflow stop` has a worker do."""
    async with held(desk.desk.redis, KEYS):
        return await cancel_all_orders(desk.desk, lambda symbol: trader_of(desk, symbol, owner))


def kill(desk: BinanceDesk) -> None:
    """SIGKILL: no call of this process reaches Redis any more, so nothing is given back."""

    async def gone(*_: Any, **__: Any) -> Any:
        raise RedisConnectionError("killed")

    desk.desk.redis.connection_pool.get_connection = gone  # type: ignore[method-assign]


async def check_nothing_is_left(desk: BinanceDesk, report: StopReport) -> None:
    """In the report, in the journal, and in the exchange's own book."""
    assert report.as_json() == {"orders_open": [], "reserved": "0"}
    ours = account_tag("main")
    for symbol in SYMBOLS:
        assert await desk.desk.redis.hlen(KEYS.reservations(symbol)) == 0
        resting = [parse_order_id(order.client_id) for order in await desk.client.open_orders(symbol)]
        assert [one for one in resting if one is not None and one.account == ours] == []


@pytest.mark.parametrize("killed_after", [None, 5.0])
def test_nothing_is_left_of_twenty_symbols(killed_after: float | None) -> None:
    """Orders are in flight when the stop begins; it ends within its bound. Killed half-way, the next stop finishes."""

    async def work(world: VirtualWorld) -> None:
        desk = world.worker()
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        windows = [asyncio.create_task(trade(desk, symbol)) for symbol in SYMBOLS]
        await asyncio.sleep(5)
        await world.exchange.server.inject(SLOW, count=100_000)
        await asyncio.sleep(1)
        began = virtual_clock().passed
        if killed_after is not None:
            dying = asyncio.create_task(stop(desk, "stop"))
            await asyncio.sleep(killed_after)
            kill(desk)
            for task in (dying, *windows):
                task.cancel()
            await asyncio.gather(dying, *windows, return_exceptions=True)
            desk = world.worker()
            assert sum([await desk.desk.redis.hlen(KEYS.intents(symbol)) for symbol in SYMBOLS]) > 0, "not half-way"
        report = await stop(desk, "next stop")
        assert virtual_clock().passed - began < 2 * MAX_SECONDS
        for task in windows:
            task.cancel()
        await asyncio.gather(*windows, return_exceptions=True)
        await check_nothing_is_left(desk, report)

    candles = {symbol: walk(30, seed, "100") for seed, symbol in enumerate(SYMBOLS)}
    rules = {symbol: SymbolRules(symbol=symbol) for symbol in SYMBOLS}
    play_in_world(own(), candles, work, Config(symbols=rules, weight_limit=10**6, orders_per_10s=10_000))
