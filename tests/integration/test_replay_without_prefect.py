"""Ten minutes of a replay with Prefect and without it: the same fills, the same books, in virtual time."""

import asyncio
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tasks.exchange.client import CcxtClient
from tasks.funds.allocator import GlobalFundAllocator
from tasks.paper.opening import open_manual_exchange
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.recover import open_books
from tasks.tick.trader import GridTrader
from tests.support.desk import settings, walk
from tests.support.virtual.crew import KEYS, ModelPrefect, Ticks, VirtualWorker
from tests.support.virtual.loop import run_virtually, virtual_clock
from tests.support.virtual.redis import VirtualRedis, virtual_redis

SECONDS, CANDLE_SECONDS = 600, 30
GRID = {"grid": "geometric", "range_pct": "0.04", "cells": 12, "quote_per_cell": "300", "start": "balanced"}
STARTS = {"BTC/USDT": "42000", "ETH/USDT": "2300"}
TIMES = {"cursor_ms", "opened_ms", "hourly_returns"}  # a book's fields that hold moments


def own() -> Settings:
    """Two symbols, a tick each nine seconds."""
    trading = {"tick_min_seconds": "9", "tick_max_seconds": "9"}
    return settings(symbols=dict.fromkeys(STARTS, GRID), trading=trading)


async def replay(server: VirtualRedis, is_away: bool) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Play it; trades on the exchange and books by symbol, and how many windows Prefect handed out."""
    clock = virtual_clock()
    async with AsyncExitStack() as leftovers:
        redis = server.client(random.Random("one"))
        leftovers.push_async_callback(redis.aclose)
        count = SECONDS // CANDLE_SECONDS + 1
        candles = {name: walk(count, seed, start, 120) for seed, (name, start) in enumerate(STARTS.items(), 3)}
        exchange = await open_manual_exchange(own(), redis, candles, clock.now)
        client = CcxtClient(exchange)
        leftovers.push_async_callback(client.close)
        allocator = GlobalFundAllocator.from_settings(own(), redis, clock.now)
        desk = Desk(own(), redis, client, allocator, KEYS, clock.now)
        markets = await client.markets(list(STARTS))
        await open_books(desk, markets, owner="opening")
        worker = VirtualWorker(desk, Ticks(), "one", lambda symbol: GridTrader(desk, markets[symbol], owner=symbol))
        prefect = ModelPrefect([worker], random.Random(4))
        prefect.away = is_away
        tasks = [asyncio.ensure_future(work) for work in prefect.always()]
        for _ in range(SECONDS // CANDLE_SECONDS):
            await asyncio.sleep(CANDLE_SECONDS)
            await exchange.advance(1)
        await asyncio.sleep(CANDLE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        trades = {name: await exchange.fetch_my_trades(name, None, 1000) for name in STARTS}
        fills = {
            name: [(one["side"], one["price"], one["amount"], one["fee"]["cost"]) for one in found]
            for name, found in trades.items()
        }
        texts = {name: json.loads(str(await redis.get(KEYS.book(name)))) for name in STARTS}
        books = {name: {key: text[key] for key in text if key not in TIMES} for name, text in texts.items()}
        worker.kill()
        await asyncio.sleep(0)
        return fills, books, len(prefect.runs)


def test_prefect_away_for_all_of_a_replay_changes_no_fill_and_no_book(tmp_path: Path) -> None:
    """Windows of Prefect's, and a worker's own windows from the first to the last."""
    with virtual_redis(tmp_path) as server:
        with_it = run_virtually(lambda: replay(server, is_away=False), seed=1)
        run_virtually(server.forget, seed=1)
        without = run_virtually(lambda: replay(server, is_away=True), seed=1)
    assert (with_it[2] >= 2 * SECONDS / 30, without[2]) == (True, 0)
    assert sum(map(len, with_it[0].values())) > 20
    assert without[0] == with_it[0]
    assert without[1] == with_it[1]
