"""Candles for tests: files of a market to replay, and a path of prices."""

import csv
import gzip
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from tasks.exchange.models import Candle
from tests.support.desk import START_MS, walk

FIRST_PRICES = {"BTC-USDT": "42000", "ETH-USDT": "2280", "BNB-USDT": "312"}


def write_candles(folder: Path, minutes: int, step_bp: int = 40) -> Path:
    """One csv.gz file a symbol, `minutes` rows each, seeded; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, price) in enumerate(FIRST_PRICES.items()):
        with gzip.open(folder / f"{name}-1m-2024-01.csv.gz", "wt", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
            for one in walk(minutes, seed=seed, start=price, step_bp=step_bp):
                rows.writerow([one.at_ms, one.open, one.high, one.low, one.close, one.volume])
    return folder


def candles_through(prices: Sequence[str]) -> list[Candle]:
    """One-minute candles from price to price, without wicks."""
    pairs = zip(map(Decimal, prices), map(Decimal, prices[1:]), strict=False)
    return [
        Candle(
            at_ms=START_MS + minute * 60_000,
            open=first,
            high=max(first, last),
            low=min(first, last),
            close=last,
            volume=Decimal(1),
        )
        for minute, (first, last) in enumerate(pairs)
    ]
