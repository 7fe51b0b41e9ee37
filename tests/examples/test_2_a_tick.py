"""A grid of two cells, candle by candle: what each tick sees and does."""

from decimal import Decimal

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle, Side
from tests.support.desk import BTC, open_desk, settings

# Levels 100, 110, 120; 50 quote a cell; the price starts at 115.
GRID = settings(
    total_funds="1000",
    symbols={BTC: {"lower": "100", "upper": "120", "cells": 2, "quote_per_cell": "50", "start": "flat"}},
)


def candle(minute: int, *prices: str) -> Candle:
    """Open, high, low, close."""
    opened, high, low, close = map(Decimal, prices)
    return Candle(at_ms=minute * 60_000, open=opened, high=high, low=low, close=close, volume=Decimal(1))


async def test_a_round_trip(redis: RedisClient) -> None:
    """Buy at 110 when the price falls to 109, sell at 120 when it rises to 121."""
    path = [candle(0, "115", "116", "109", "112"), candle(1, "112", "121", "111", "119")]
    desk = await open_desk(redis, GRID, {BTC: path})
    trader = await desk.trader()

    await trader.tick()  # both levels lie below the price: two buys rest
    resting = await desk.client.open_orders(BTC)
    assert sorted((order.side, order.price) for order in resting) == [
        (Side.BUY, Decimal(100)),
        (Side.BUY, Decimal(110)),
    ]

    await desk.exchange.advance()  # the low of 109 fills the buy at 110
    bought = await trader.tick()  # the fill is booked, the sell is placed one level up
    assert bought.fills == 1
    resting = await desk.client.open_orders(BTC)
    assert sorted((order.side, order.price) for order in resting) == [
        (Side.BUY, Decimal(100)),
        (Side.SELL, Decimal(120)),
    ]

    await desk.exchange.advance()  # the high of 121 fills the sell at 120
    sold = await trader.tick()
    assert sold.fills == 1
    summary = (await desk.desk.allocator.get_allocation_status(BTC)).used_units
    assert summary == 0  # nothing is held: no money is used, whatever the profit
    await desk.close()
