"""What a backtest costs: `uv run --with basana python -m tests.benchmarks.backtest_benchmark [--data FILE] [--json]`.

One grid of 19 cells over a month of minutes, candles in memory: the exact engine, the fast engine, a plain loop of
Decimals, and basana where it is installed. Then twelve months, three symbols out of one pot, trials of a search on one
core, and loading a month from its binary copy. Times are the best of a few rounds, in seconds; ratios are printed and
nothing is asserted, because they depend on the machine.
"""

import argparse
import asyncio
import gc
import importlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from tasks.backtest.candle_files import columns_of, joined, load_file
from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.fast_engine import play_fast
from tasks.backtest.trial import Job, run_trial
from tasks.base.money import from_units
from tasks.exchange.models import Candle
from tasks.settings.model import Settings
from tests.support.backtests import market
from tests.support.recorded import DATA
from tests.support.textbook import textbook

MONTH = 44_641
LOWER, UPPER, CELLS = 39_000, 48_000, 19
NAMES = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
QUOTE = Decimal(300)


def best_of(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of the quickest round."""
    found = []
    for _ in range(rounds):
        gc.collect()
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def tiled(columns: CandleColumns, count: int) -> CandleColumns:
    """The candles again and again, one minute after the other, until there are `count`."""
    whole = joined([columns] * (-(-count // len(columns))))
    prices = [getattr(whole, name)[:count] for name in ("open", "high", "low", "close")]
    at = columns.at[0] + columns.interval_ms * np.arange(count, dtype=np.int64)
    return columns_of([at, *prices], whole.volume[:count])


def job_of(columns: CandleColumns, symbols: int = 1) -> Job:
    """The grid on so many symbols; each has the same candles."""
    grid = {"lower": str(LOWER), "upper": str(UPPER), "cells": CELLS, "quote_per_cell": str(QUOTE)}
    values = {"total_funds": str(10_000 * symbols), "global_max_usage": "1", "allocation_strategy": "equal"}
    names = NAMES[:symbols]
    own = Settings.model_validate(values | {"symbols": dict.fromkeys(names, grid)})
    return Job(own, {name: market(name) for name in names}, dict.fromkeys(names, columns))


def exact(job: Job) -> int:
    """The fills of the exact engine."""
    played = Engine(job.settings, job.markets, job.candles).play()
    return sum(run.trader.records.book.buys + run.trader.records.book.sells for run in played.runs.values())


def fast(job: Job) -> int:
    """The fills of the fast engine."""
    return sum(one.buys + one.sells for one in play_fast(job.settings, job.markets, job.candles).values())


def records(columns: CandleColumns) -> list[Candle]:
    """The candles as records of Decimals."""
    rows = zip(columns.at, columns.open, columns.high, columns.low, columns.close, strict=True)
    return [
        Candle.model_construct(
            at_ms=int(at),
            open=from_units(int(opened)),
            high=from_units(int(high)),
            low=from_units(int(low)),
            close=from_units(int(close)),
            volume=Decimal(1),
        )
        for at, opened, high, low, close in rows
    ]


def levels() -> list[Decimal]:
    """The grid's levels."""
    return [Decimal(LOWER + (UPPER - LOWER) * i / CELLS).quantize(Decimal("0.01")) for i in range(CELLS + 1)]


def basana_run(candles: list[Candle]) -> int:
    """The same grid as a basana strategy: a limit order a cell, the opposite one after each fill; its fills."""
    bs = importlib.import_module("basana")
    exchanges = importlib.import_module("basana.backtesting.exchange")
    liquidity = importlib.import_module("basana.backtesting.liquidity")
    fees = importlib.import_module("basana.backtesting.fees")
    pair, prices = bs.Pair("BTC", "USDT"), levels()
    sizes = [(QUOTE / low).quantize(Decimal("0.00001"), ROUND_FLOOR) for low in prices[:-1]]
    dispatcher = bs.backtesting_dispatcher()
    exchange = exchanges.Exchange(
        dispatcher,
        {"USDT": Decimal(10_000)},
        liquidity_strategy_factory=liquidity.InfiniteLiquidity,
        fee_strategy=fees.Percentage(Decimal("0.1")),
        default_pair_info=bs.PairInfo(8, 8),
    )
    minute = timedelta(minutes=1)
    events = [
        bs.BarEvent(at + minute, bs.Bar(at, pair, one.open, one.high, one.low, one.close, Decimal(1000), minute))
        for one in candles
        if (at := datetime.fromtimestamp(one.at_ms / 1000, UTC))
    ]
    exchange.add_bar_source(bs.FifoQueueEventSource(events=events))
    resting: dict[str, tuple[int, bool]] = {}
    idle, fills = set(range(CELLS)), [0]

    async def place(cell: int, *, buys: bool) -> None:
        operation = bs.OrderOperation.BUY if buys else bs.OrderOperation.SELL
        order = await exchange.create_limit_order(operation, pair, sizes[cell], prices[cell if buys else cell + 1])
        resting[order.id] = (cell, buys)

    async def on_bar(event: Any) -> None:
        for cell in [cell for cell in idle if prices[cell] < event.bar.close]:
            idle.discard(cell)
            await place(cell, buys=True)

    async def on_order(event: Any) -> None:
        if event.order.is_open or event.order.id not in resting:
            return
        cell, bought = resting.pop(event.order.id)
        fills[0] += 1
        if bought:
            await place(cell, buys=False)
        else:
            idle.add(cell)

    exchange.subscribe_to_bar_events(pair, on_bar)
    exchange.subscribe_to_order_events(on_order)
    asyncio.run(dispatcher.run())
    return fills[0]


def measured(path: Path, rounds: int) -> dict[str, Any]:
    """Seconds by name, fills by engine, ratios."""
    columns = tiled(load_file(path), MONTH)
    job, year, three = job_of(columns), job_of(tiled(columns, 12 * MONTH)), job_of(columns, 3)
    candles = records(columns)
    exact(job)  # the first run fills caches
    seconds = {
        "exact, a month": best_of(rounds, lambda: exact(job)),
        "fast, a month": best_of(rounds, lambda: fast(job)),
        "exact, twelve months": best_of(1, lambda: exact(year)),
        "fast, twelve months": best_of(rounds, lambda: fast(year)),
        "exact, three symbols": best_of(1, lambda: exact(three)),
        "a loop of Decimals": best_of(
            1, lambda: textbook(candles, levels(), QUOTE, Decimal(10_000), Decimal("0.00001"))
        ),
    }
    fills = {"exact": exact(job), "fast": fast(job)}
    trials = [{"cells": str(cells), "quote_per_cell": "100"} for cells in range(10, 40)]
    seconds["a trial of a search"] = best_of(1, lambda: [run_trial(job, one) for one in trials]) / len(trials)
    with tempfile.TemporaryDirectory() as folder:
        load_file(path, Path(folder))
        seconds[f"loading {len(load_file(path)):,} candles"] = best_of(rounds, lambda: load_file(path, Path(folder)))
    if importlib.util.find_spec("basana") is not None:
        begun = time.perf_counter()
        with redirect_stderr(StringIO()):
            fills["basana"] = basana_run(candles)
        seconds["basana"] = time.perf_counter() - begun
    return {"seconds": seconds, "fills": fills, "ratios": ratios(seconds)}


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """How many times as long others take."""
    found = {}
    for other in ("a loop of Decimals", "basana"):
        for engine in ("exact", "fast"):
            if other in seconds:
                found[f"{other} / {engine}"] = seconds[other] / seconds[f"{engine}, a month"]
    found["three symbols / one"] = seconds["exact, three symbols"] / seconds["exact, a month"]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a backtest costs")
    parser.add_argument("--data", type=Path, default=DATA / "BTC-USDT-1m-2024-01.csv.gz", help="a candle file")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the quick ones")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    own = parser.parse_args()
    found = measured(own.data, own.rounds)
    if own.json:
        print(json.dumps(found))
        return
    for name, seconds in found["seconds"].items():
        print(f"{name:28} {seconds * 1000:12.2f} ms")
    for name, fills in found["fills"].items():
        print(f"{name:28} {fills:12,} fills")
    for name, ratio in found["ratios"].items():
        print(f"{name:28} {ratio:12.1f} ×")


if __name__ == "__main__":
    main()
