"""Helpers of the paper exchange's tests: candles from numbers, a market driven by hand, a clock to turn."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.exchange import PaperExchange
from tasks.paper.opening import open_manual_exchange
from tasks.settings.model import PaperSettings, Settings

SYMBOL = "BTC/USDT"
START_MS = 1_704_067_200_000
Numbers = tuple[str | float | int | Decimal, ...]


class Wall:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    @property
    def ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def candles(*rows: Numbers) -> list[Candle]:
    """Rows of open, high, low, close as 1-minute candles."""
    return [
        Candle(
            at_ms=START_MS + number * 60_000,
            open=Decimal(str(row[0])),
            high=Decimal(str(row[1])),
            low=Decimal(str(row[2])),
            close=Decimal(str(row[3])),
            volume=Decimal(1),
        )
        for number, row in enumerate(rows)
    ]


def settings(funds: str = "10000", fee_currency: str = "quote") -> Settings:
    """Settings of one symbol."""
    paper = PaperSettings.model_validate({"market": "synthetic", "fee_currency": fee_currency})
    return Settings.model_validate(
        {
            "total_funds": funds,
            "paper": paper,
            "symbols": {SYMBOL: {"lower": "30000", "upper": "50000", "cells": 10}},
        }
    )


async def manual(redis: RedisClient, rows: Sequence[Numbers], wall: Wall | None = None, **kwargs: str) -> PaperExchange:
    """A market in BTC/USDT over these rows, driven by hand, on a clock of its own."""
    return await open_manual_exchange(settings(**kwargs), redis, {SYMBOL: candles(*rows)}, wall or Wall())
