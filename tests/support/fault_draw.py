"""Draws the start of a fault run from its seed: symbols, grids, exchange, prices and kinds of faults."""

import csv
import gzip
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from tasks.exchange.models import Candle
from tasks.settings.model import Settings
from tests.support.binance.config import Config
from tests.support.binance.faults import Chance, Fault, FaultKind

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
STEPS = 16
MOST_PER_STEP = 60
REAL = STEPS * MOST_PER_STEP  # recorded minutes in a scenario
DATA = Path(__file__).parents[1] / "data"
KINDS = tuple(FaultKind)
LASTING = {FaultKind.OUTAGE: 3.0, FaultKind.BAN: 3.0, FaultKind.RATE_LIMIT: 2.0}
DELAYS = (0.5, 3.0, 6.0, 12.0, 20.0)  # 6 s is longer than a request is valid, 12 s than anybody waits for an answer
MONEY = Decimal(12_000)  # in the account; the pot is never more than 10,000 of it
LOST_ORDERS = tuple(kind for kind in KINDS if Fault(kind=kind).fits("POST", "order", {}))


@dataclass(frozen=True)
class Scene:
    """The start of a scenario. `whole`: workers use shared readings, the rate budget and circuit breakers."""

    settings: Settings
    candles: Mapping[str, Sequence[Candle]]
    exchange: Config
    whole: bool


def draw_scene(rng: random.Random, seed: int, *, coin_fees: bool) -> Scene:
    """Draw the scene with `rng`. One seed in three has three symbols; the exchange lists all of them.

    `coin_fees`: with three symbols, fees are paid in BNB while the account has any.
    """
    own = settings_of(rng, f"s{seed}", SYMBOLS if (seed // 3 + seed) % 3 == 0 else SYMBOLS[:1])
    first = rng.randrange(0, 2000)
    exchange = Config(
        seed=seed,
        balances={own.quote: MONEY},
        fee_currency=rng.choice(["quote", "quote", "base"]),
        fill_parts=rng.choice([1, 1, 3]),
        partial_chance=rng.choice([0.0, 0.3, 0.8]),
        partial_share=rng.choice([0.2, 0.4, 0.8]),
    )
    if coin_fees and len(own.symbols) > 1:
        exchange = exchange.changed(fee_currency="BNB")
    return Scene(own, {symbol: _path(symbol, first) for symbol in SYMBOLS}, exchange, whole=seed % 3 == 0)


def _path(symbol: str, first: int) -> tuple[Candle, ...]:
    real = real_candles(symbol)[first : first + REAL]
    return (*real, *swings(real[0].open, real[-1]))


@cache
def real_candles(symbol: str) -> tuple[Candle, ...]:
    """Three days of recorded 1-minute candles."""
    with gzip.open(DATA / f"{symbol.replace('/', '-')}-1m-2024-01.csv.gz", "rt", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return tuple(
            Candle(
                at_ms=int(row["timestamp"]),
                **{name: Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")},
            )
            for row in rows
        )


def settings_of(rng: random.Random, account: str, symbols: Sequence[str]) -> Settings:
    """Settings with a drawn grid for each symbol, and defaults for everything else."""
    grids = {symbol: geometry(rng) | {"start": rng.choice(["flat", "balanced"])} for symbol in symbols}
    return Settings.model_validate({"account": account, "symbols": grids})


def geometry(rng: random.Random) -> dict[str, Any]:
    """A drawn grid kind, range and number of cells."""
    return {
        "grid": rng.choice(["arithmetic", "geometric"]),
        "range_pct": rng.choice(["0.02", "0.03"]),
        "cells": rng.randint(5, 9),
    }


def plan_of(rng: random.Random, factor: float) -> list[Chance]:
    """A few kinds of faults with a probability each. Half of the scenarios have one more, for new orders only.

    `factor`: of the probabilities.
    """
    chances = [_chance(rng, kind, "", "", 0.12 * factor) for kind in rng.sample(KINDS, k=rng.randint(2, 5))]
    if rng.random() < 0.5:
        chances.append(_chance(rng, rng.choice(LOST_ORDERS), "POST", "order", 0.4 * factor))
    return chances if factor else []


def _chance(rng: random.Random, kind: FaultKind, method: str, path: str, most: float) -> Chance:
    delayed = kind in (FaultKind.DELAY_BEFORE, FaultKind.DELAY_AFTER)
    seconds = rng.choice(DELAYS) if delayed else LASTING.get(kind, 1.0)
    drift = rng.choice([-20_000, 20_000])
    fault = Fault(kind=kind, method=method, path=path, seconds=seconds, requests=rng.randint(1, 6), ms=drift)
    return Chance(fault=fault, probability=rng.uniform(0.02, max(most, 0.02)))


def swings(centre: Decimal, last: Candle) -> list[Candle]:
    """The last candles of a scenario: down and up through any grid with levels less than 6 % apart: it must trade."""
    price, found = last.close, []
    for number, share in enumerate(("0.94", "1.06", "0.94", "1.06", "0.94", "1"), start=1):
        close = (centre * Decimal(share)).quantize(Decimal("0.01"))
        at_ms = last.at_ms + number * 60_000
        high, low = max(price, close), min(price, close)
        found.append(Candle(at_ms=at_ms, open=price, high=high, low=low, close=close, volume=Decimal(1)))
        price = close
    return found
