"""Redis goes away while a worker runs its windows, and comes back."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import Settings
from tests.support.binance.config import API_KEY, SECRET
from tests.support.binance.record import Record, sent_twice
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, walk
from tests.support.servers import RestartableRedis
from tests.support.up import ROOT
from tests.support.waiting import BUSY, until

KEYS = Keys("main")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[RestartableRedis]:
    """A Redis that can go away and come back with its data."""
    server = RestartableRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def ticks(url: str, symbol: str = BTC) -> int:
    """Ticks of a symbol so far."""
    with sync_redis.Redis.from_url(url, decode_responses=True) as client:
        count: Any = client.hget(KEYS.stats, f"ticks|{symbol}")
    return int(count or 0)


def live_settings(url: str, redis_url: str) -> dict[str, Any]:
    """One grid with real orders on the loopback exchange, ticked every half second; its window outlasts the test."""
    grid = {"grid": "geometric", "range_pct": "0.02", "cells": 8, "quote_per_cell": "20", "start": "balanced"}
    return {
        "live": True,
        "redis_url": redis_url,
        "redis_risk": "accepted",  # the tests' server writes no file
        "exchange": {"id": "binance", "live": True, "api_url": url, "api_key": API_KEY, "secret": SECRET},
        "trading": {"tick_min_seconds": "0.3", "tick_max_seconds": "0.5", "window_seconds": 300},
        "symbols": {BTC: grid},
    }


@contextmanager
def live_worker(settings: dict[str, Any], log: Path) -> Iterator[None]:
    """A worker process in the middle of a window; its log goes to the file."""
    command = [sys.executable, "-m", "tests.support.live_worker", json.dumps(settings), "60000", BTC]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def moving(server: LocalExchange) -> AsyncIterator[None]:
    """The market moves meanwhile."""

    async def play() -> None:
        while True:
            await server.advance(1)
            await asyncio.sleep(0.2)

    playing = asyncio.create_task(play())
    try:
        yield
    finally:
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing


async def eventually(question: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until the answer is true, while the exchange of this process goes on."""
    await asyncio.to_thread(until, question, seconds, what)


async def filled_since(before: Record, server: LocalExchange) -> Record:
    """The exchange's record once the market has filled another order. Raises TimeoutError where none fills."""
    async with asyncio.timeout(BUSY * 30):
        while len((record := await server.record()).trades) == len(before.trades):  # noqa: ASYNC110 - nothing notifies
            await asyncio.sleep(0.1)
    return record


def failures(log: Path) -> int:
    """Ticks that failed, by the worker's log."""
    return log.read_text().count("tick failed; the next tick reads everything again")


def booked(url: str) -> set[str]:
    """Ids of the trades in the books."""
    with sync_redis.Redis.from_url(url, decode_responses=True) as client:
        found: Any = client.zrange(KEYS.seen(BTC), 0, -1)
    return set(found)


async def test_without_redis_nothing_is_placed_and_with_it_trading_goes_on(
    account: RestartableRedis, tmp_path: Path
) -> None:
    """Ticks fail with one clear error, no order is sent; what filled meanwhile is booked, once, when Redis is back."""
    log = tmp_path / "worker.log"
    async with local_exchange({BTC: walk(3000)}) as server:
        settings = live_settings(server.url, account.url)
        redis = connect(account.url)
        await GlobalFundAllocator.from_settings(Settings.model_validate(settings), redis).rebalance_if_needed(
            reason="start"
        )
        await redis.aclose()
        with live_worker(settings, log):
            async with moving(server):
                await eventually(lambda: ticks(account.url) > 5, 60, "the first ticks")
                account.stop()
                await eventually(lambda: failures(log) >= 1, 30, "a tick to fail")
                before = await server.record()
                await eventually(lambda: failures(log) >= 2, 30, "another tick to fail")
                during = await filled_since(before, server)
                account.start()
                ticked = ticks(account.url)
                await eventually(lambda: ticks(account.url) > ticked + 5, 60, "more ticks")
                missed = {str(trade.trade_id) for trade in (await server.record()).trades}
                await eventually(lambda: missed <= booked(account.url), 30, "every fill to be booked")
        after = await server.record()
    assert len(during.orders) == len(before.orders), "an order was placed without Redis"
    assert len(after.orders) > len(during.orders), "trading did not go on"
    assert sent_twice(after) == {}
    assert "Traceback" not in log.read_text()
