"""What a closed cell earns: the sell's income, less what the lot had cost, fees included on both sides."""

from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import value
from tests.support.desk import BTC, candle, open_desk, settings

# Levels 100 and 110; one cell of 50 quote; fees of 0.1 % a side.
GRID = settings(
    total_funds="1000",
    symbols={BTC: {"lower": "100", "upper": "110", "cells": 1, "quote_per_cell": "50", "start": "flat"}},
    trading={"request_valid_seconds": "5", "protection_seconds": "15", "lease_seconds": 10},  # for slow machines
)
PATH = [candle(0, "105", "105", "99", "104"), candle(1, "104", "111", "104", "108")]


async def test_profit_is_income_less_cost(redis: RedisClient) -> None:
    """0.5 bought at 100 and sold at 110: 55 − 0.055 of income, 50 + 0.05 of cost, 4.895 of profit."""
    desk = await open_desk(redis, GRID, {BTC: PATH})
    trader = await desk.trader()
    for _ in range(3):  # place the buy; book it and place the sell; book that
        await trader.tick()
        await desk.exchange.advance()

    keys = Keys("main")
    sold, bought = [Fill.model_validate_json(text) for text in await redis.lrange(keys.newest_fills(BTC), 0, -1)]
    assert bought.basis == Decimal("50.05")  # price × amount, and the fee
    assert sold.profit == Decimal("54.945") - Decimal("50.05")
    await desk.close()


async def test_grid_profit_and_floating_pnl_are_the_equity_change(redis: RedisClient) -> None:
    """While the lot is held, its loss at the present price is floating. The two always add up, exactly."""
    desk = await open_desk(redis, GRID, {BTC: PATH})
    trader = await desk.trader()
    await trader.tick()
    await desk.exchange.advance()
    await trader.tick()

    book = Book.model_validate_json(await redis.get(Keys("main").book(BTC)) or "")
    valued = value(book, price=Decimal(90))
    assert (valued.grid_profit, valued.floating) == (Decimal(0), Decimal(45) - Decimal("50.05"))
    assert valued.equity_change == valued.grid_profit + valued.floating
    await desk.close()
