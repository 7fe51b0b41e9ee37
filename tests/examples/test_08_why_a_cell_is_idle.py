"""Every cell without an order has a reason, in the tick's report, in the log and on the dashboard."""

from tasks.base.redis_client import RedisClient
from tests.support.desk import BTC, candle, open_desk, settings

# Levels 100, 110, 120, 130; the price stands at 115; the pot may use 60.
GRID = settings(
    total_funds="100",
    global_max_usage="0.6",
    symbols={BTC: {"lower": "100", "upper": "130", "cells": 3, "quote_per_cell": "40", "start": "flat"}},
)


async def test_the_report_names_the_reasons(redis: RedisClient) -> None:
    """One cell buys, one lacks money, one lies above the price. A pause changes the reason."""
    desk = await open_desk(redis, GRID, {BTC: [candle(0, "115", "116", "114", "115")]})
    trader = await desk.trader()
    report = await trader.tick()
    reasons = {int(key.rpartition(".")[2]): reason for key, reason in report.idle.items()}
    assert reasons == {0: "SYMBOL_LIMIT", 2: "ABOVE_PRICE"}  # cell 1 buys at 110

    await redis.hset(desk.desk.keys.funds, "paused", 1)
    report = await trader.tick()
    assert set(report.idle.values()) == {"PAUSED", "ABOVE_PRICE"}
    assert report.cancelled == 0  # a pause stops new buys; what rests stays
    await desk.close()
