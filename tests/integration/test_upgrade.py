"""Records that an earlier program wrote come up whole: nothing is left behind, doubled or unbooked."""

import gzip
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.order_ids import is_gridflow_id
from tasks.grid.models import Cell
from tasks.history.lists import records_in_lists
from tasks.history.rows import batch_of
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.ledger.steps import audit_funds
from tasks.tick.record_format import upgrade_records
from tasks.tick.recover import open_books
from tests.support.desk import BTC, TestDesk, open_desk, settings

ETH = "ETH/USDT"
KEYS = Keys("main")
DUMP = Path(__file__).parents[1] / "data" / "records-format-1.json.gz"
OWN = settings(
    symbols={
        BTC: {"grid": "geometric", "range_pct": "0.04", "cells": 20, "start": "balanced"},
        ETH: {"grid": "arithmetic", "range_pct": "0.03", "cells": 8, "quote_per_cell": "200", "start": "balanced"},
    },
    allocation_strategy="equal",
)


async def restore(redis: RedisClient) -> None:
    """Two paper symbols as the earlier program left them: orders on both sides, lots of an earlier ETH grid, BTC
    paused, and a fill that is not booked yet.
    """
    with gzip.open(DUMP, "rt", encoding="utf-8") as stream:
        records: dict[str, tuple[str, Any]] = json.load(stream)
    write: dict[str, Callable[[str, Any], Awaitable[Any]]] = {
        "string": redis.set,
        "hash": lambda key, found: redis.hset(key, mapping=found),
        "list": lambda key, found: redis.rpush(key, *found),
        "set": lambda key, found: redis.sadd(key, *found),
        "zset": lambda key, found: redis.zadd(key, dict(found)),
    }
    for key, (kind, found) in records.items():
        if kind == "stream":
            for entry_id, fields in found:
                await redis.xadd(key, fields, id=entry_id)
        else:
            await write[kind](key, found)


async def open_upgraded(redis: RedisClient) -> TestDesk:
    """The desk as a starting worker opens it."""
    await restore(redis)
    desk = await open_desk(redis, OWN, rebalance=False)
    await open_books(desk.desk, await desk.client.markets([BTC, ETH]), "worker")
    return desk


async def check_books(desk: TestDesk, redis: RedisClient) -> None:
    """Every resting order has its journal entry, every trade is booked once, the account holds what the books say."""
    cash = Decimal(0)
    for symbol in (BTC, ETH):
        resting = {order.client_id for order in await desk.client.open_orders(symbol)}
        assert resting == set(await redis.hkeys(KEYS.intents(symbol)))
        trades = {trade.trade_id for trade in await desk.client.trades(symbol, 0)}
        booked = {name for name in await redis.zrange(KEYS.seen(symbol), 0, -1) if not str(name).startswith("dust:")}
        assert booked == trades
        book = Book.model_validate_json(await redis.get(KEYS.book(symbol)) or "")
        balance = (await desk.client.balances())[symbol.partition("/")[0]]
        assert balance.free + balance.locked == book.base
        assert value(book, Decimal(40_000)).identity_error == 0
        cash += book.cash
    quote = (await desk.client.balances())["USDT"]
    assert quote.free + quote.locked == Decimal(10_000) + cash
    assert not (await audit_funds(redis, KEYS, [BTC, ETH], desk.client)).drift


async def test_a_state_of_the_earlier_program_comes_up(redis: RedisClient) -> None:
    """Open orders rest on under their old ids and end under the new ones; the pause holds; nothing is sent twice."""
    desk = await open_upgraded(redis)
    before = {symbol: await redis.hkeys(KEYS.intents(symbol)) for symbol in (BTC, ETH)}
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    first = [await trader.tick() for trader in traders]
    assert first[0].fills == 1, "the fill that nobody had booked"
    assert (first[0].cancelled, first[0].placed) == (0, 0), "its grid goes on under its new id, and buys are paused"
    kept = set(await redis.hkeys(KEYS.intents(BTC))) & set(before[BTC])
    assert len(kept) >= len(before[BTC]) - 1
    assert (await desk.desk.allocator.get_allocation_status(BTC)).paused
    for _ in range(30):
        await desk.exchange.advance(3)
        for trader in traders:
            await trader.tick()
    await check_books(desk, redis)
    orders = [order for symbol in (BTC, ETH) for order in await desk.exchange.fetch_orders(symbol, None, 1000)]
    ids = [order["clientOrderId"] for order in orders]
    assert len(ids) == len(set(ids)), "an id was sent twice"
    assert all(map(is_gridflow_id, ids))
    cells = [Cell.model_validate_json(text) for text in await redis.hvals(KEYS.cells(ETH))]
    assert all(len(cell.grid_id) == 5 for cell in cells)
    found = batch_of(await records_in_lists(redis, KEYS))
    assert len(found.added["rebalances"]) >= 1, "reports of the earlier program can be read"
    assert not found.added["unreadable"]
    await desk.close()


async def test_an_upgrade_happens_once_and_raises_every_fence(redis: RedisClient) -> None:
    """A worker of the earlier program that still holds a lease writes nothing any more."""
    await restore(redis)
    old = int(await redis.get(KEYS.fence(BTC)) or 0)
    assert await upgrade_records(redis, KEYS, OWN)
    assert int(await redis.get(KEYS.fence(BTC)) or 0) == old + 1
    assert not await upgrade_records(redis, KEYS, OWN)
    assert int(await redis.get(KEYS.fence(BTC)) or 0) == old + 1


async def test_a_tick_refuses_records_that_were_not_upgraded(redis: RedisClient) -> None:
    """Nothing is touched: neither by a tick nor by a program that meets a newer format."""
    await restore(redis)
    desk = await open_desk(redis, OWN, rebalance=False)
    with pytest.raises(StateError, match="format 1, this version uses 2"):
        await (await desk.trader(BTC)).tick()
    await redis.set(KEYS.format, 9)
    with pytest.raises(StateError, match="format 9, this version uses 2"):
        await upgrade_records(redis, KEYS, OWN)
    await desk.close()


async def test_a_changed_grid_is_upgraded_too(redis: RedisClient) -> None:
    """The file names another BTC grid than the one that traded: its lots are sold at their levels, the new one buys."""
    await restore(redis)
    other = settings(
        symbols={
            BTC: {"grid": "geometric", "range_pct": "0.05", "cells": 10},
            ETH: {"grid": "arithmetic", "range_pct": "0.03", "cells": 8, "quote_per_cell": "200"},
        },
        allocation_strategy="equal",
    )
    desk = await open_desk(redis, other, rebalance=False)
    await open_books(desk.desk, await desk.client.markets([BTC, ETH]), "worker")
    await redis.hset(KEYS.funds_symbol(BTC), "paused", "0")
    traders = [await desk.trader(symbol) for symbol in (BTC, ETH)]
    for _ in range(20):
        for trader in traders:
            await trader.tick()
        await desk.exchange.advance(3)
    for trader in traders:
        await trader.tick()
    await check_books(desk, redis)
    await desk.close()
