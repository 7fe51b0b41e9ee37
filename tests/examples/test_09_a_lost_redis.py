"""Redis loses everything. The exchange still knows the orders and the trades, so the books are rebuilt from it."""

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.grid.models import Cell
from tasks.ledger.models import Book
from tests.support.binance.desk import open_binance_desk
from tests.support.desk import BTC, settings, walk

GRID = settings(
    symbols={BTC: {"lower": "40000", "upper": "44000", "cells": 10, "quote_per_cell": "100", "start": "flat"}},
)


async def test_the_next_tick_rebuilds_the_books(redis: RedisClient) -> None:
    """Trade for a while, wipe Redis, tick: the same inventory, the same profit, the same resting orders."""
    keys = Keys("main")
    async with open_binance_desk(redis, GRID, {BTC: walk(40, step_bp=60)}) as desk:
        trader = await desk.trader()
        for _ in range(30):
            await trader.tick()
            await desk.server.advance(1)
        await trader.tick()
        before = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
        resting = {order.client_id for order in await desk.client.open_orders(BTC)}
        assert before.sells > 0, "the example needs a closed cell"

        await redis.flushall()
        await trader.tick()

        after = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
        assert (after.base, after.basis, after.grid_profit) == (before.base, before.basis, before.grid_profit)
        assert {order.client_id for order in await desk.client.open_orders(BTC)} == resting
        cells = [Cell.model_validate_json(text) for text in await redis.hvals(keys.cells(BTC))]
        assert sum(cell.qty for cell in cells) == after.base
