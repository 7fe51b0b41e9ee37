"""Candle files for tests that replay a market."""

import csv
import gzip
from pathlib import Path

from tests.support.desk import walk

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
