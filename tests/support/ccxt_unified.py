"""ccxt's own unified tests, and a paper exchange to run them on."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasks.base.redis_client import RedisClient
from tasks.paper.exchange import PaperExchange
from tasks.paper.opening import open_paper_exchange
from tasks.settings.model import PaperSettings, Settings

SYMBOL = "BTC/USDT"


@asynccontextmanager
async def traded_exchange(redis: RedisClient) -> AsyncIterator[PaperExchange]:
    """A synthetic market at real speed, with an order filled and one resting."""
    exchange = await open_paper_exchange(Settings(paper=PaperSettings(market="synthetic")), redis)
    try:
        await exchange.create_order(SYMBOL, "market", "buy", 0.01)
        await exchange.create_order(SYMBOL, "limit", "buy", 0.01, 30_000)
        yield exchange
    finally:
        await exchange.close()


def shipped(name: str) -> Any:
    """One of ccxt's test functions."""
    return getattr(importlib.import_module(f"ccxt.test.exchange.async.test_{name}"), f"test_{name}")
