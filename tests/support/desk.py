"""A trading desk on a paper exchange that tests move candle by candle."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle
from tasks.funds.allocator import GlobalFundAllocator
from tasks.paper.opening import open_manual_exchange, open_paper_exchange
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.trader import Checkpoint, GridTrader

START_MS = 1_704_067_200_000
BTC = "BTC/USDT"
# For tests that wait until the rights of a dead worker have ended.
QUICK = {"request_valid_seconds": "1.5", "protection_seconds": "2", "lease_seconds": 2}


def settings(**changes: Any) -> Settings:
    """One symbol, a ±4 % grid of 20 cells; requests stay valid on a busy machine."""
    base: dict[str, Any] = {
        "symbols": {BTC: {"grid": "geometric", "range_pct": "0.04", "cells": 20, "start": "balanced"}},
        "trading": {"request_valid_seconds": "5", "protection_seconds": "6", "lease_seconds": 5},
    }
    return Settings(**(base | changes))


def candle(minute: int, *prices: str) -> Candle:
    """A 1-minute candle: open, high, low, close."""
    opened, high, low, close = map(Decimal, prices)
    return Candle(at_ms=START_MS + minute * 60_000, open=opened, high=high, low=low, close=close, volume=Decimal(1))


def walk(count: int, seed: int = 1, start: str = "42000", step_bp: int = 30) -> list[Candle]:
    """A seeded random walk of 1-minute candles."""
    rng = random.Random(seed)
    price, candles = Decimal(start), []
    cent = Decimal("0.01")
    for minute in range(count):
        close = (price * (1 + Decimal(rng.randint(-step_bp, step_bp)) / 10_000)).quantize(cent)
        high = (max(price, close) * Decimal("1.0005")).quantize(cent)
        low = (min(price, close) * Decimal("0.9995")).quantize(cent)
        candles.append(
            Candle(at_ms=START_MS + minute * 60_000, open=price, high=high, low=low, close=close, volume=Decimal(1))
        )
        price = close
    return candles


@dataclass
class TestDesk:
    """A desk and the exchange behind it."""

    __test__ = False
    desk: Desk
    exchange: Any
    client: CcxtClient

    async def trader(
        self, symbol: str = BTC, owner: str = "test", checkpoint: Checkpoint = lambda _: None
    ) -> GridTrader:
        """A trader of `symbol`."""
        market = (await self.client.markets([symbol]))[symbol]
        return GridTrader(self.desk, market, owner, checkpoint)

    async def close(self) -> None:
        """Close the exchange (not Redis)."""
        await self.client.close()


async def open_desk(
    redis: RedisClient,
    own: Settings,
    candles: Mapping[str, Sequence[Candle]] | None = None,
    *,
    rebalance: bool = True,
) -> TestDesk:
    """A desk over `candles`, or one that joins the market another process opened; `rebalance`: shares the pot."""
    if candles is None:
        exchange = await open_paper_exchange(own, redis, beat=False)
    else:
        exchange = await open_manual_exchange(own, redis, candles)
    client = CcxtClient(exchange)
    allocator = GlobalFundAllocator.from_settings(own, redis)
    if rebalance:
        await allocator.rebalance_if_needed(reason="start")
    desk = Desk(settings=own, redis=redis, exchange=client, allocator=allocator, keys=Keys(own.account))
    return TestDesk(desk, exchange, client)
