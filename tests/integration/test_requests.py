"""How many requests trading costs: readings of the exchange are shared by symbols and by processes."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest

from tasks.base.clock import Clock, utc_now
from tasks.base.errors import ExchangeUnavailable
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle, Ticker
from tasks.exchange.shared_client import SharedReads
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.trader import GridTrader
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import START_MS

NAMES = [f"C{number:02}/USDT" for number in range(20)]
AGE_MS = 400
FOREVER_SECONDS = 60


def calm(minutes: int) -> list[Candle]:
    """A market that stands still at 100."""
    price = Decimal(100)
    return [
        Candle(at_ms=START_MS + minute * 60_000, open=price, high=price, low=price, close=price, volume=Decimal(1))
        for minute in range(minutes)
    ]


def own_settings() -> Settings:
    """Twenty grids around 100, their nearest levels 2 away."""
    grid: dict[str, Any] = {"lower": "82", "upper": "118", "cells": 9, "quote_per_cell": "20"}
    return Settings(symbols=dict.fromkeys(NAMES, grid))


class Moment:
    """A clock that stands still, however slow the machine is, until the test moves it on."""

    def __init__(self) -> None:
        self._now = utc_now()

    def __call__(self) -> datetime:
        return self._now

    def pass_age(self) -> None:
        """By now every reading is too old."""
        self._now += timedelta(milliseconds=AGE_MS + 1)


async def shared_desk(
    server: LocalExchange, redis: RedisClient, own: Settings, clock: Clock = utc_now
) -> tuple[Desk, list[GridTrader]]:
    """A worker's desk with shared readings, and a trader for each symbol."""
    keys = Keys(own.account)
    exchange = SharedReads(real_ccxt(server), redis, keys, NAMES, AGE_MS, clock)
    allocator = GlobalFundAllocator.from_settings(own, redis, clock)
    await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=exchange, allocator=allocator, keys=keys, clock=clock)
    markets = await exchange.markets(NAMES)
    return desk, [GridTrader(desk, markets[name], owner=f"worker-{id(desk)}-{name}") for name in NAMES]


async def test_twenty_idle_symbols_cost_three_requests_a_round(redis: RedisClient) -> None:
    """Tickers once, open orders once, for all of them and for two workers together; nothing else while all is calm."""
    own = own_settings()
    rules = {name: SymbolRules(symbol=name) for name in NAMES}
    config = Config(symbols=rules, orders_per_10s=1000, weight_limit=100_000)
    async with local_exchange({name: calm(10) for name in NAMES}, config) as server:
        clock = Moment()
        desk, traders = await shared_desk(server, redis, own, clock)
        other, _ = await shared_desk(server, redis, own, clock)
        for trader in traders:
            await trader.tick()
        clock.pass_age()
        for _ in range(3):  # orders have been placed: one more look each at most until they are all seen
            await asyncio.gather(*(trader.tick() for trader in traders))
            clock.pass_age()
        for _ in range(5):
            before = len((await server.record()).requests)
            await asyncio.gather(*(trader.tick() for trader in traders))
            await other.exchange.ticker(NAMES[0])  # another process finds the same reading
            await other.exchange.open_orders(NAMES[1])
            assert len((await server.record()).requests) - before <= 3
            clock.pass_age()
        await desk.exchange.close()
        await other.exchange.close()


async def test_a_reading_is_never_older_than_asked_for(redis: RedisClient) -> None:
    """A tick that placed an order at t wants open orders of t or later: an older shared reading is not used."""
    own = own_settings()
    rules = {name: SymbolRules(symbol=name) for name in NAMES}
    async with local_exchange({name: calm(10) for name in NAMES}, Config(symbols=rules)) as server:
        desk, traders = await shared_desk(server, redis, own)
        assert await desk.exchange.open_orders(NAMES[0]) == []
        report = await traders[0].tick()
        assert report.placed > 0
        again = await traders[0].tick()
        assert again.resolving == 0
        resting = await redis.hvals(Keys(own.account).intents(NAMES[0]))
        assert all('"state":"OPEN"' in str(text) for text in resting)
        await desk.exchange.close()


class SlowReads(SharedReads):
    """Of the requests for tickers, the first one never gets an answer. Counts all of them, and those at a time."""

    calls = now = most = 0

    async def tickers(self, symbols: Sequence[str]) -> dict[str, Ticker]:
        """See CcxtClient."""
        SlowReads.calls += 1
        SlowReads.now += 1
        SlowReads.most = max(SlowReads.most, SlowReads.now)
        try:
            if SlowReads.calls == 1:
                await asyncio.sleep(FOREVER_SECONDS)
            price = Decimal(100)
            return {name: Ticker(symbol=name, bid=price, ask=price, last=price, at_ms=START_MS) for name in symbols}
        finally:
            SlowReads.now -= 1


async def test_a_reading_ends_before_its_lock(redis: RedisClient) -> None:
    """An exchange that does not answer is never asked twice at a time; the next one asks once the first gave up."""
    never_asked = ccxt.async_support.binance()
    one, two = (SlowReads(never_asked, redis, Keys("main"), NAMES, AGE_MS, lock_ms=5000) for _ in range(2))
    started = time.monotonic()
    asking = asyncio.create_task(one.ticker(NAMES[0]))
    while SlowReads.calls == 0:  # noqa: ASYNC110 - the reading tells nobody else
        await asyncio.sleep(0.01)
    assert await redis.pttl(Keys("main").shared_reading("tickers", "lock")) > 0
    assert (await two.ticker(NAMES[1])).last == 100
    with pytest.raises(ExchangeUnavailable, match=r"did not end within 4\.5 s"):
        await asking
    assert 4.4 < time.monotonic() - started < FOREVER_SECONDS
    assert (SlowReads.calls, SlowReads.most) == (2, 1)
    assert await redis.get(Keys("main").shared_reading("tickers", "lock")) is None


async def test_a_reading_of_other_symbols_keeps_nobody_from_trading(redis: RedisClient) -> None:
    """One worker has traded since before a symbol came: its reading lacks it, so another asks for it by itself."""
    rules = {name: SymbolRules(symbol=name) for name in NAMES[:2]}
    async with local_exchange({name: calm(10) for name in NAMES[:2]}, Config(symbols=rules)) as server:
        exchange = real_ccxt(server)
        old, new = (SharedReads(exchange, redis, Keys("main"), names, 60_000) for names in (NAMES[:1], NAMES[:2]))
        await old.ticker(NAMES[0])
        assert (await new.ticker(NAMES[1])).last == 100
        asked = [row.path for row in (await server.record()).requests if "ticker" in row.path]
        assert len(asked) == 2
        await exchange.close()
