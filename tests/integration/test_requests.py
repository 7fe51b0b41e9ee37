"""How many requests trading costs: readings of the exchange are shared by symbols and by processes."""

import asyncio
from decimal import Decimal
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis import RedisClient
from tasks.base.settings import Settings
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle
from tasks.exchange.shared import SharedReads
from tasks.funds.allocator import GlobalFundAllocator
from tasks.tick.desk import Desk
from tasks.tick.trader import GridTrader
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import START_MS

NAMES = [f"C{number:02}/USDT" for number in range(20)]
AGE_MS = 400


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


async def shared_desk(server: LocalExchange, redis: RedisClient, own: Settings) -> tuple[Desk, list[GridTrader]]:
    """A worker's desk with shared readings, and a trader for each symbol."""
    client = CcxtClient(real_ccxt(server))
    exchange = SharedReads(client, redis, Keys(own.account), NAMES, AGE_MS)
    allocator = GlobalFundAllocator.from_settings(own, redis)
    await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=exchange, allocator=allocator, keys=Keys(own.account))
    markets = await exchange.markets(NAMES)
    return desk, [GridTrader(desk, markets[name], owner=f"worker-{id(desk)}-{name}") for name in NAMES]


async def test_twenty_idle_symbols_cost_three_requests_a_round(redis: RedisClient) -> None:
    """Tickers once, open orders once, for all of them and for two workers together; nothing else while all is calm."""
    own = own_settings()
    rules = {name: SymbolRules(symbol=name) for name in NAMES}
    config = Config(symbols=rules, orders_per_10s=1000, weight_limit=100_000)
    async with local_exchange({name: calm(10) for name in NAMES}, config) as server:
        desk, traders = await shared_desk(server, redis, own)
        other, _ = await shared_desk(server, redis, own)
        for trader in traders:
            await trader.tick()
        await asyncio.sleep(AGE_MS / 1000)
        for _ in range(3):  # orders have been placed: one more look each at most until they are all seen
            await asyncio.gather(*(trader.tick() for trader in traders))
            await asyncio.sleep(AGE_MS / 1000)
        for _ in range(5):
            before = len((await server.record()).requests)
            await asyncio.gather(*(trader.tick() for trader in traders))
            await other.exchange.ticker(NAMES[0])  # another process finds the same reading
            await other.exchange.open_orders(NAMES[1])
            assert len((await server.record()).requests) - before <= 3
            await asyncio.sleep(AGE_MS / 1000)
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
