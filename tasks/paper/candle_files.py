"""Reads 1-minute candle files (csv, csv.gz, parquet) and refuses malformed ones, naming file, line and fault."""

import csv
import gzip
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, TextIO

from tasks.base.errors import MarketDataError
from tasks.paper.candles import MINUTE, Bar

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
SUFFIXES = (".csv.gz", ".csv", ".parquet")
_EARLIEST_MS, _LATEST_MS = 10**11, 10**14  # below: seconds; above: microseconds
_TOP_PRICE = 10_000_000.0  # quote; units of it stay exact in a float


@dataclass
class Candles:
    """The candles of one file by column; prices in units of 1e-8."""

    at: "array[int]" = field(default_factory=lambda: array("q"))
    open: "array[int]" = field(default_factory=lambda: array("q"))
    high: "array[int]" = field(default_factory=lambda: array("q"))
    low: "array[int]" = field(default_factory=lambda: array("q"))
    close: "array[int]" = field(default_factory=lambda: array("q"))
    volume: "array[float]" = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.at)

    def slice(self, start: int, stop: int) -> list[Bar]:
        """Candles `start` … `stop`−1."""
        columns = (self.at, self.open, self.high, self.low, self.close, self.volume)
        return [Bar(*row) for row in zip(*(column[start:stop] for column in columns), strict=True)]

    def gaps(self) -> int:
        """Minutes missing between the first and the last candle."""
        return (self.at[-1] - self.at[0]) // MINUTE + 1 - len(self) if self.at else 0


def step_ms(at: Sequence[int]) -> int:
    """The most frequent distance between two candles in ms; a minute where there is only one."""
    distances = Counter(after - before for before, after in pairwise(at))
    return distances.most_common(1)[0][0] if distances else MINUTE


def files_of(folder: Path, symbol: str) -> list[Path]:
    """Candle files of `symbol` in `folder`, by name. Raises MarketDataError where there is none to be read."""
    try:
        found = [path for path in sorted(folder.iterdir()) if _is_of(path.name, symbol)]
    except (FileNotFoundError, NotADirectoryError):
        raise MarketDataError(folder, 0, "no such folder") from None
    except (OSError, ValueError) as error:  # ValueError: no name of a folder, for it holds a null byte
        raise MarketDataError(folder, 0, f"unreadable ({error})") from None
    if not found:
        wanted = f"{symbol.replace('/', '-')}-1m-2024-01.csv.gz"
        raise MarketDataError(folder, 0, f"no candle file for {symbol}; name one like {wanted}")
    return found


def symbols_in(folder: Path) -> tuple[str, ...]:
    """Symbols with files of 1-minute candles in a folder, sorted; none where there is no such folder."""
    try:
        named = [_symbol_and_length(path.name) for path in folder.iterdir()]
    except OSError:
        return ()
    return tuple(sorted({found[0] for found in named if found and found[1] == "1m" and found[0].count("/") == 1}))


def skipped_files(folder: Path, symbol: str) -> list[Path]:
    """Candle files of `symbol` whose name says another length than a minute, by name. A replay does not read them."""
    try:
        named = {path: _symbol_and_length(path.name) for path in sorted(folder.iterdir())}
    except OSError:
        return []
    return [path for path, found in named.items() if found and found[0] == symbol and found[1] != "1m"]


def _is_of(name: str, symbol: str) -> bool:
    return _symbol_and_length(name) == (symbol, "1m")


def _symbol_and_length(name: str) -> tuple[str, str] | None:
    """`BTC-USDT-15m-2024.csv` → BTC/USDT and 15m; 1m where the name has no length; None for no candle file."""
    suffix = next((end for end in SUFFIXES if name.endswith(end)), None)
    if suffix is None:
        return None
    parts = name[: -len(suffix)].split("-")
    has_length = len(parts) > 2 and re.fullmatch(r"\d+[smhdwM]", parts[2])
    return "/".join(parts[:2]), parts[2] if has_length else "1m"


def read_file(path: Path) -> Candles:
    """All candles of a file. Raises MarketDataError with file, line and fault."""
    if path.name.endswith(".parquet"):
        return _collect(path, _parquet_rows(path), empty=0)
    try:
        with _open_text(path) as stream:
            return _read_csv(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MarketDataError(path, _readable_lines(path) + 1, f"truncated or broken gzip data ({error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise MarketDataError(path, 1, f"not a csv text ({error})") from None
    except OSError as error:
        raise MarketDataError(path, 0, f"unreadable ({error.strerror or error})") from None


def _open_text(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _readable_lines(path: Path) -> int:
    lines = 0
    try:
        with gzip.open(path, "rb") as stream:
            for _ in stream:
                lines += 1
    except (EOFError, zlib.error, gzip.BadGzipFile):
        pass
    return lines


def _read_csv(path: Path, stream: TextIO) -> Candles:
    reader = csv.reader(stream)
    header = next(reader, None)
    if header is None:
        raise MarketDataError(path, 1, "the file is empty")
    places = _places(path, header)
    rows = ((reader.line_num, row) for row in reader if row)
    if places == list(range(len(COLUMNS))):
        return _collect(path, rows)
    return _collect(path, ((line, _picked(row, places)) for line, row in rows))


def _picked(row: Sequence[str], places: list[int]) -> Sequence[str]:
    return [row[place] for place in places] if len(row) > max(places) else []


def _places(path: Path, header: Sequence[str], line: int = 1) -> list[int]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise MarketDataError(path, line, f"missing column {', '.join(missing)} (needs {', '.join(COLUMNS)})")
    return [names.index(name) for name in COLUMNS]


def _collect(path: Path, rows: Iterable[tuple[int, Sequence[Any]]], empty: int = 2) -> Candles:
    """`empty`: the line to name where there is no row."""
    candles = Candles()
    add = [getattr(candles, name).append for name in ("at", *COLUMNS[1:])]
    add_at, add_open, add_high, add_low, add_close, add_volume = add
    before = _EARLIEST_MS
    for line, row in rows:
        try:
            at = int(row[0])
            open_price, high, low, close, volume = map(float, row[1:6])
        except (ValueError, IndexError, TypeError, OverflowError):
            raise MarketDataError(path, line, _unreadable(row)) from None
        # written so that NaN fails it too
        if not (0 < low <= open_price <= high < _TOP_PRICE and low <= close <= high and before < at < _LATEST_MS):
            raise MarketDataError(path, line, _fault(at, open_price, high, low, close, before))
        if not 0 <= volume < inf:
            raise MarketDataError(path, line, f"volume {volume} is not a number from 0 up")
        before = at
        add_at(at)
        add_open(round(open_price * 1e8))
        add_high(round(high * 1e8))
        add_low(round(low * 1e8))
        add_close(round(close * 1e8))
        add_volume(volume)
    if not candles:
        raise MarketDataError(path, empty, "the file is empty: it holds no candle")
    return candles


def _unreadable(row: Sequence[Any]) -> str:
    if len(row) < len(COLUMNS):
        return f"{len(COLUMNS)} values expected"
    for name, value in zip(COLUMNS, row, strict=False):
        try:
            float(value)
        except (ValueError, TypeError):
            return f"{name} is not a number: {str(value)[:40]!r}"
    return f"timestamp is not a whole number: {str(row[0])[:40]!r}"


def _fault(at: int, open_price: float, high: float, low: float, close: float, before: int) -> str:
    for name, price in (("open", open_price), ("high", high), ("low", low), ("close", close)):
        if not 0 < price < _TOP_PRICE:
            return f"{name} {price} is not a price above 0 and below {_TOP_PRICE:.0f}"
    if not _EARLIEST_MS < at < _LATEST_MS:
        return f"timestamp {at} is not in milliseconds"
    if at <= before:
        return f"time not increasing: {at} after {before}"
    if high < low:
        return f"high {high} below low {low}"
    name, price = ("open", open_price) if not low <= open_price <= high else ("close", close)
    return f"{name} {price} outside low {low} to high {high}"


def _parquet_rows(path: Path) -> Iterator[tuple[int, Sequence[Any]]]:
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError:
        fault = "parquet needs pyarrow: install gridflow[parquet], or convert the file to csv"
        raise MarketDataError(path, 0, fault) from None
    try:
        names = parquet.read_schema(path).names
        places = _places(path, names, line=0)
        table = parquet.read_table(path, columns=[names[place] for place in places])
        columns = [table.column(names[place]) for place in places]
        if types.is_timestamp(columns[0].type):
            columns[0] = columns[0].cast("timestamp[ms]")
        if not _is_text(types, columns[0].type):  # text is read row by row, so that a fault names its row
            columns[0] = columns[0].cast("int64")
        values = [column.to_pylist() for column in columns]
    except (ArrowException, OSError) as error:
        raise MarketDataError(path, 0, f"not a readable parquet file ({error})") from None
    return enumerate(zip(*values, strict=True), 1)


def _is_text(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))
