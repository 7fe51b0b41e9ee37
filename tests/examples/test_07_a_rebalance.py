"""Money moves between symbols: the allocations change at once, the orders follow at the next ticks."""

from decimal import Decimal

from tasks.base.redis_client import RedisClient
from tests.support.desk import BTC, open_desk, settings, walk

ETH = "ETH/USDT"


async def test_orders_follow_the_allocation(redis: RedisClient) -> None:
    """Weights go from 1:1 to 3:1. The symbol that lost money gives up orders, the other buys more."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 4, "start": "flat"}
    even = settings(allocation_strategy="weighted", symbols={BTC: grid, ETH: grid})
    candles = {BTC: walk(5), ETH: walk(5, seed=2)}
    desk = await open_desk(redis, even, candles)
    traders = {name: await desk.trader(name) for name in (BTC, ETH)}
    for trader in traders.values():
        await trader.tick()
    pot = desk.desk.allocator
    before = await pot.get_global_status_summary()
    assert before.symbols[BTC].allocated_units == before.symbols[ETH].allocated_units

    desk.desk.settings = settings(
        allocation_strategy="weighted", symbols={BTC: grid | {"weight": "3"}, ETH: grid | {"weight": "1"}}
    )
    pot.follow(desk.desk.settings)
    report = await pot.rebalance_if_needed()  # the operator's input changed: that is reason enough
    assert report.applied
    for _ in range(4):  # a buy is cancelled by one tick, and placed anew by a later one
        for trader in (traders[ETH], traders[BTC]):
            await trader.tick()

    after = await pot.get_global_status_summary()
    assert after.symbols[BTC].allocated_units == 3 * after.symbols[ETH].allocated_units
    for share in after.symbols.values():
        assert share.committed_units <= share.allocated_units
    assert after.symbols[BTC].committed_units > before.symbols[BTC].committed_units
    assert Decimal(after.committed_units) <= after.pool_units
    await desk.close()
