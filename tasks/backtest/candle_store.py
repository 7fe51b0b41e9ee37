"""A folder of candles: one Parquet file for each symbol and month, named so that replays and backtests find it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.backtest.candle_files import columns_of, joined, load_file
from tasks.backtest.candles import CandleColumns
from tasks.base.errors import MarketDataError
from tasks.base.money import UNITS_PER_QUOTE
from tasks.paper.candle_files import SUFFIXES
from tasks.paper.candles import MINUTE


class Month(NamedTuple):
    """A month in UTC: from `start_ms` to before `end_ms`."""

    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """`2024-01`."""
        return f"{datetime.fromtimestamp(self.start_ms / 1000, UTC):%Y-%m}"


class Stored(NamedTuple):
    """What one file holds. `missing`: minutes without a candle between its first and last one. Times in ms."""

    symbol: str
    path: Path
    first_ms: int
    last_ms: int
    candles: int
    missing: int


def months(start_ms: int, end_ms: int) -> Iterator[Month]:
    """The months that the time from `start_ms` to before `end_ms` touches."""
    day = datetime.fromtimestamp(start_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (first := int(day.timestamp() * 1000)) < end_ms:
        day = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
        yield Month(first, int(day.timestamp() * 1000))


def month_file(folder: Path, symbol: str, month: Month) -> Path:
    """The file of a symbol's month."""
    return folder / f"{symbol.replace('/', '-')}-1m-{month.name}.parquet"


def load_month(path: Path) -> CandleColumns | None:
    """The candles of a month's file; None where there is none. Raises MarketDataError for a broken one."""
    return load_file(path) if path.exists() else None


def save_month(path: Path, columns: CandleColumns) -> None:
    """Write a month's file in one step."""
    from pyarrow import parquet, table  # takes a tenth of a second

    prices = {name: getattr(columns, name) / UNITS_PER_QUOTE for name in ("open", "high", "low", "close")}
    rows = table({"timestamp": columns.at, **prices, "volume": columns.volume})
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    parquet.write_table(rows, unfinished)
    unfinished.replace(path)


def merged(path: Path, old: CandleColumns | None, new: CandleColumns) -> CandleColumns:
    """Both, by time, each minute once. Raises MarketDataError where the same minute has other prices."""
    if old is None:
        return new
    both = joined([old, new])
    order = np.argsort(both.at, kind="stable")
    rows = [getattr(both, name)[order] for name in ("at", "open", "high", "low", "close")]
    double = np.flatnonzero(np.diff(rows[0]) == 0)
    for name, column in zip(("open", "high", "low", "close"), rows[1:], strict=True):
        differing = double[column[double] != column[double + 1]]
        if len(differing):
            fault = f"the minute {int(rows[0][differing[0]])} has another {name} there"
            raise MarketDataError(path, 0, fault)
    kept = np.ones(len(both), dtype=bool)
    kept[double + 1] = False
    return columns_of([column[kept] for column in rows], both.volume[order][kept])


def add_candles(folder: Path, symbol: str, columns: CandleColumns) -> list[Path]:
    """Add candles to the symbol's files. Returns the files written. Raises MarketDataError."""
    written = []
    for month in months(int(columns.at[0]), int(columns.at[-1]) + 1):
        part = columns.between(month.start_ms, month.end_ms)
        if len(part):
            path = month_file(folder, symbol, month)
            save_month(path, merged(path, load_month(path), part))
            written.append(path)
    return written


def missing_spans(columns: CandleColumns) -> list[tuple[int, int]]:
    """Times (ms) without candles, each from the first missing minute to before the next candle."""
    return [(int(early) + MINUTE, int(late)) for early, late in pairwise(columns.at) if late - early > MINUTE]


def stored(folder: Path) -> list[Stored]:
    """What is in the folder, by symbol and time. Raises MarketDataError for the first bad file."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        parts = path.name.split("-")
        if len(parts) > 2 and path.name.endswith(SUFFIXES) and not path.name.startswith("."):
            columns = load_file(path)
            at = columns.at
            facts = (int(at[0]), int(at[-1]), len(columns), columns.missing())
            found.append(Stored("/".join(parts[:2]), path, *facts))
    return sorted(found, key=lambda one: (one.symbol, one.first_ms))
