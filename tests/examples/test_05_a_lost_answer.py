"""The exchange takes an order and the answer is lost. UNKNOWN is not failed: the order is looked up."""

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tests.support.binance.desk import open_binance_desk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.desk import BTC, settings, walk

GRID = settings(
    symbols={BTC: {"lower": "38000", "upper": "42500", "cells": 2, "quote_per_cell": "100", "start": "flat"}},
)


async def test_the_order_is_found_and_not_sent_again(redis: RedisClient) -> None:
    """The connection drops after the exchange has accepted the first of two orders."""
    async with open_binance_desk(redis, GRID, {BTC: walk(5)}) as desk:
        await desk.server.inject(Fault(kind=FaultKind.DROP_AFTER, method="POST"), count=1)
        trader = await desk.trader()
        placed = await trader.tick()
        assert (placed.placed, placed.resolving) == (2, 1)  # one answer is missing

        found = await trader.tick()
        assert (found.placed, found.resolving) == (0, 0)  # nothing is sent again
        resting = [order.client_id for order in await desk.client.open_orders(BTC)]
        assert sorted(resting) == sorted(await redis.hkeys(Keys("main").intents(BTC)))
        assert len(resting) == 2
