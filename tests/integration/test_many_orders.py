"""More orders than the exchange allows, and more than leave in time."""

import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.grid.plan_models import IdleReason
from tasks.orders.models import IntentState
from tasks.tick.order_requests import MOST_PER_BATCH
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import BinanceDesk, open_binance_desk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import sent_twice
from tests.support.books import check_books, settle
from tests.support.desk import BTC, settings, walk
from tests.support.outbox import ended_orders

BUSY = {"orders_per_10s": 10_000, "weight_limit": 1_000_000}


def grid(cells: int, **changes: Any) -> dict[str, Any]:
    """A wide grid of so many cells."""
    return {
        "grid": "geometric",
        "range_pct": "0.2",
        "cells": cells,
        "quote_per_cell": "20",
        "start": "balanced",
    } | changes


def limited(most: int) -> Config:
    """An exchange that allows `most` open orders in the symbol."""
    return Config(symbols={BTC: SymbolRules(symbol=BTC, max_orders=most)}, **BUSY)


async def prices(desk: BinanceDesk) -> list[Decimal]:
    """Prices of the open orders of ours, lowest first."""
    return sorted(order.price for order in await desk.client.open_orders(BTC) if order.client_id.startswith("gf"))


async def test_the_nearest_levels_get_the_orders(redis: RedisClient) -> None:
    """As the price moves they follow; orders of others count; the exchange refuses nothing."""
    candles = {BTC: walk(120, seed=4, step_bp=60)}
    async with open_binance_desk(redis, settings(symbols={BTC: grid(40)}), candles, limited(12)) as desk:
        person = await desk.exchange.create_order(BTC, "limit", "buy", 0.001, 30_000, {"clientOrderId": "person"})
        trader = await desk.trader()
        for _ in range(60):
            await desk.server.advance(1)
            report = await trader.tick()
            assert len(await desk.client.open_orders(BTC)) <= 12
        await settle(trader, redis, ticks=8)
        report = await trader.tick()
        assert IdleReason.MAX_ORDERS in set(report.idle.values())
        found, last = await prices(desk), (await desk.client.ticker(BTC)).last
        assert len(found) == 11
        width = max(high - low for low, high in pairwise(found))
        assert abs((last - found[0]) - (found[-1] - last)) <= 2 * width, "as far down as up"
        refused = [row for row in (await desk.server.record()).requests if row.outcome not in ("200", None)]
        assert [row.outcome for row in refused if "MAX_NUM" in row.outcome or row.outcome.startswith("400")] == []
        await desk.exchange.cancel_order(person["id"], BTC)
        await check_books(desk, redis)
        assert sent_twice(await desk.server.record()) == {}


async def test_what_leaves_too_late_is_not_sent(redis: RedisClient) -> None:
    """The worker froze behind the journal: nothing is sent, the money is back in the same tick, all is planned anew."""
    trading = {"request_valid_seconds": "2", "protection_seconds": "3", "lease_seconds": 2}
    own = settings(symbols={BTC: grid(120, start="flat", quote_per_cell="10")}, trading=trading)
    frozen: list[str] = []

    def freeze(step: str) -> None:
        if step == "reserved" and not frozen:
            frozen.append(step)
            time.sleep(2.1)  # a process that stands still: its requests are good for two seconds

    async with open_binance_desk(redis, own, {BTC: walk(5)}, Config(**BUSY)) as desk:
        trader = await desk.trader(checkpoint=freeze)
        report = await trader.tick()
        assert report.placed == MOST_PER_BATCH
        assert IdleReason.RATE_LIMITED in set(report.idle.values()), "the next batch waits for the next tick"
        assert (await desk.server.record()).orders == ()
        assert not any(row.method == "POST" for row in (await desk.server.record()).requests)
        assert await redis.hlen(desk.desk.keys.intents(BTC)) == 0
        assert (await desk.desk.allocator.get_allocation_status(BTC)).reserved_units == 0
        ended = await ended_orders(redis, desk.desk.keys, BTC)
        assert {intent.state for intent in ended} == {IntentState.NEVER_PLACED}
        report = await trader.tick()
        assert report.placed > MOST_PER_BATCH
        assert len(await prices(desk)) == report.placed
        await check_books_flat(desk, redis)


async def check_books_flat(desk: BinanceDesk, redis: RedisClient) -> None:
    """Every open order has an entry, and none was sent twice."""
    resting = {order.client_id for order in await desk.client.open_orders(BTC)}
    assert resting == set(await redis.hkeys(desk.desk.keys.intents(BTC)))
    assert sent_twice(await desk.server.record()) == {}


async def test_an_archived_order_ends(redis: RedisClient) -> None:
    """Binance's -2026 about an order that was cancelled: that is an answer, not a failure."""
    async with open_binance_desk(redis, settings(), {BTC: walk(20)}) as desk:
        trader = await desk.trader()
        await settle(trader, redis, ticks=2)
        (order, *_) = [one for one in await desk.client.open_orders(BTC) if one.side is Side.BUY]
        await desk.exchange.cancel_order(order.exchange_id, BTC)
        await desk.server.configure(archive_ms=0)
        await trader.tick()
        ended = {one.client_id: one.state for one in await ended_orders(redis, desk.desk.keys, BTC)}
        assert ended[order.client_id] is IntentState.CANCELLED
        await settle(trader, redis, ticks=2)
        await check_books(desk, redis)


async def test_one_failed_lookup_does_not_fail_the_tick(redis: RedisClient) -> None:
    """Of two cancelled orders one cannot be read: the other is settled and the rest of the tick goes on."""
    async with open_binance_desk(redis, settings(), {BTC: walk(20)}) as desk:
        trader = await desk.trader()
        await settle(trader, redis, ticks=2)
        first, second, *_ = [one for one in await desk.client.open_orders(BTC) if one.side is Side.BUY]
        for order in (first, second):
            await desk.exchange.cancel_order(order.exchange_id, BTC)
        match = {"orderId": first.exchange_id}
        await desk.server.inject(Fault(kind=FaultKind.ERROR_BEFORE, method="GET", path="order", match=match), count=1)
        report = await trader.tick()
        assert report.placed == 1
        assert first.client_id in await redis.hkeys(desk.desk.keys.intents(BTC))
        await settle(trader, redis, ticks=3)
        assert first.client_id not in await redis.hkeys(desk.desk.keys.intents(BTC))
        await check_books(desk, redis)
