"""Redis round trips of a live tick: shared readings, rate budget, journal and books, for few orders and for many."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.budget import Budget
from tasks.exchange.limits.ccxt_hooks import attach_budget
from tasks.exchange.shared_client import SharedReads
from tasks.exchange.venues.registry import venue_of
from tasks.exchange.venues.venue import RateLimits
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.order_requests import MOST_PER_BATCH
from tasks.tick.trader import GridTrader
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import candle, settings
from tests.support.round_trips import counted_round_trips

NAMES = ["AAA/USDT", "BBB/USDT"]
IDLE = 8
BATCH = 12
FURTHER_BATCH = 3


def own_settings(cells: int) -> Settings:
    """Two symbols with so many cells below the price. Requests stay valid for as long as the orders take."""
    grid: Mapping[str, Any] = {"lower": "50", "upper": "99", "cells": cells, "quote_per_cell": "6", "start": "flat"}
    trading = {"lease_seconds": 120, "request_valid_seconds": 60, "protection_seconds": 70}
    return settings(symbols=dict.fromkeys(NAMES, grid), trading=trading)


async def live_trader(server: LocalExchange, redis: RedisClient, own: Settings, limits: RateLimits) -> GridTrader:
    """A trader as a worker has it. No reading is new enough for it: it reads the exchange at every tick."""
    exchange, keys = real_ccxt(server), Keys(own.account)
    attach_budget(exchange, Budget(redis, keys, AddressKeys("binance"), limits))
    port = SharedReads(exchange, redis, keys, NAMES, max_age_ms=-60_000)
    allocator = GlobalFundAllocator.from_settings(own, redis)
    await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=port, allocator=allocator, keys=keys)
    return GridTrader(desk, (await port.markets(NAMES))[NAMES[0]], owner="worker")


async def known_scripts(redis: RedisClient) -> int:
    """How many scripts the server has loaded."""
    return int((await redis.info("memory"))["number_of_cached_scripts"])


BINANCE = venue_of("binance").rate_limits
WIDER = RateLimits(address_window_ms=60_000, account_window_ms=60_000, order_ms=BINANCE.order_ms)


@pytest.mark.parametrize(("cells", "limits"), [(5, BINANCE), (50, BINANCE), (60, WIDER), (110, WIDER)])
async def test_round_trips_of_a_live_tick(redis: RedisClient, cells: int, limits: RateLimits) -> None:
    """At most 8 idle, 12 for up to 50 orders, 3 more for each further 50.

    Binance allows 100 orders in 10 seconds: 50 at once wait for the budget twice, and that is in the 12. Where the
    limit is wider, a batch takes its grants at once.
    """
    market = [candle(minute, "100", "100", "100", "100") for minute in range(5)]
    config = Config(symbols={name: SymbolRules(symbol=name) for name in NAMES}, orders_per_10s=500)
    async with local_exchange(dict.fromkeys(NAMES, market), config) as server:
        trader = await live_trader(server, redis, own_settings(cells), limits)
        keys = trader.desk.keys
        await redis.hset(keys.funds, "stopped", 1)
        await trader.tick()  # sets the grid, after a look for orders of a lost Redis
        await redis.hdel(keys.funds, "stopped")
        with counted_round_trips() as trips:
            loaded = await known_scripts(redis)
            before = trips.count
            report = await trader.tick()
            placing = trips.since(before)
            placing -= 2 * (await known_scripts(redis) - loaded)  # a new script is loaded and called again
            assert report.placed == cells
            assert placing <= BATCH + FURTHER_BATCH * ((cells - 1) // MOST_PER_BATCH)
            await trader.tick()
            for _ in range(3):
                before = trips.count
                report = await trader.tick()
                assert (report.placed, report.resolving) == (0, 0)
                assert trips.since(before) <= IDLE
        await trader.desk.exchange.close()
