"""Four worker processes on one live account: they press the exchange's limit and never exceed it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import Settings
from tests.support.binance.config import API_KEY, SECRET, Config, SymbolRules
from tests.support.binance.record import sent_twice
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import walk

ROOT = Path(__file__).parents[2]
WORKERS, EACH = 4, 4
SYMBOLS = [f"C{number:02}/USDT" for number in range(WORKERS * EACH)]
SECONDS = 12
WINDOW_MS, WEIGHT = 6_000, 600  # a tenth of a minute, a tenth of what a minute allows


def live_settings(url: str, redis_url: str) -> dict[str, Any]:
    """Sixteen busy grids, ticked as fast as the limits let them be."""
    grid = {"grid": "geometric", "range_pct": "0.02", "cells": 8, "quote_per_cell": "20", "start": "balanced"}
    return {
        "live": True,
        "redis_url": redis_url,
        "redis_risk": "accepted",  # the tests' server writes no file
        "exchange": {"id": "binance", "live": True, "api_url": url, "api_key": API_KEY, "secret": SECRET},
        "trading": {"tick_min_seconds": "0.1", "tick_max_seconds": "0.5", "window_seconds": SECONDS},
        "symbols": dict.fromkeys(SYMBOLS, grid),
    }


async def play(server: LocalExchange, ended: asyncio.Event) -> None:
    """The market moves while they trade."""
    while not ended.is_set():
        await server.advance(1)
        await asyncio.sleep(0.2)


async def test_four_workers_never_exceed_the_weight_limit(redis: RedisClient, redis_url: str) -> None:
    """By the exchange's own counter, in every one of its windows; and trading goes on at what it allows."""
    rules = {name: SymbolRules(symbol=name) for name in SYMBOLS}
    settings = Settings.model_validate(live_settings("http://127.0.0.1:1", redis_url))
    await GlobalFundAllocator.from_settings(settings, redis).rebalance_if_needed(reason="start")
    config = Config(symbols=rules, weight_limit=WEIGHT, weight_window_ms=WINDOW_MS)
    candles = {name: walk(500, seed=number, start="100") for number, name in enumerate(SYMBOLS)}
    async with local_exchange(candles, config) as server:
        said = json.dumps(live_settings(server.url, redis_url))
        command = [sys.executable, "-m", "tests.support.live_worker", said, str(WINDOW_MS)]
        shares = [SYMBOLS[number::WORKERS] for number in range(WORKERS)]
        workers = [
            await asyncio.create_subprocess_exec(
                *command, *share, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            for share in shares
        ]
        over = asyncio.Event()
        market = asyncio.create_task(play(server, over))
        ends = await asyncio.gather(*(worker.communicate() for worker in workers))
        over.set()
        await market
        record = await server.record()
    assert [worker.returncode for worker in workers] == [0] * WORKERS, ends[0][1].decode()[-2000:]
    assert {row.outcome for row in record.requests} <= {"200", "400 -2010"}  # a post-only order may come too late
    assert record.highest_weight <= WEIGHT
    assert record.highest_weight >= WEIGHT / 10, "they did not even come near it"  # a busy machine sends less
    assert sent_twice(record) == {}
    assert len(record.trades) >= len(SYMBOLS)
    seen = [one for name in SYMBOLS for one in await redis.zrange(Keys("main").seen(name), 0, -1)]
    assert len(seen) == len(set(seen))
    assert set(seen) <= {str(trade.trade_id) for trade in record.trades}
    print(f"{len(record.requests)} requests, {len(seen)} fills booked, most weight {record.highest_weight} of {WEIGHT}")
