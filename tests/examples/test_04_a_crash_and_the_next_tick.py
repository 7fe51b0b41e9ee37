"""A worker dies between the journal and the exchange. The next tick finds out what became of the orders."""

from collections.abc import Callable

import pytest

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tests.support.desk import BTC, open_desk, settings, walk

# Ten cells below the price: buys that rest, none that fills at once.
GRID = settings(
    symbols={BTC: {"lower": "38000", "upper": "42000", "cells": 10, "quote_per_cell": "100", "start": "flat"}},
)


class Killed(BaseException):
    """Stands for a power cut: nothing in the program catches it."""


def dies_after(wanted: str) -> Callable[[str], None]:
    """A checkpoint that ends the worker after one step of its tick."""

    def checkpoint(step: str) -> None:
        if step == wanted:
            raise Killed

    return checkpoint


@pytest.mark.parametrize("step", ["reserved", "sent"])
async def test_the_next_tick_goes_on_where_the_journal_stands(redis: RedisClient, step: str) -> None:
    """Journalled but never sent, or sent without reading the answer: no order exists twice, no money is lost."""
    desk = await open_desk(redis, GRID, {BTC: walk(5)})
    first = await desk.trader(owner="a", checkpoint=dies_after(step))
    with pytest.raises(Killed):
        await first.tick()
    keys = Keys("main")
    journalled = set(await redis.hkeys(keys.intents(BTC)))
    assert journalled, "the journal is written before anything is sent"
    await redis.delete(keys.lease(BTC))  # in life the dead worker's lease runs out by itself

    second = await desk.trader(owner="b")
    await second.tick()
    resting = {order.client_id for order in await desk.client.open_orders(BTC)}
    if step == "sent":
        assert resting == journalled  # found on the exchange by their ids
    else:
        assert resting == set()  # they may still be on their way: the money stays reserved until they have expired
    assert set(await redis.hkeys(keys.reservations(BTC))) == set(await redis.hkeys(keys.intents(BTC)))
    await desk.close()
