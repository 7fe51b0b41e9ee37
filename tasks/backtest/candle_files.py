"""Candle files as numpy columns, with a binary copy so that a file is parsed once.

The copy stands in a folder of its own, named by a digest of the file's path, size and time of change. A month of
minutes loads from it in a few milliseconds.
"""

import hashlib
import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tasks.backtest.candles import CandleColumns, Column, Volume
from tasks.base.errors import MarketDataError
from tasks.paper.candle_files import Candles, files_of, read_file

log = logging.getLogger(__name__)
_FORM = "1"  # of the copies; another number forgets the older ones
_PRICES = ("at", "open", "high", "low", "close")


def load_file(path: Path, cache: Path | None = None) -> CandleColumns:
    """All candles of a csv, csv.gz or parquet file. Raises MarketDataError with file, line and fault.

    `cache`: folder of the binary copies; None: none is read or written.
    """
    copy = _copy_of(path, cache) if cache else None
    if copy is not None and copy.exists():
        return _read_copy(copy)
    columns = _columns(read_file(path))
    if copy is not None:
        _write_copy(copy, columns)
    return columns


def load_symbol(folder: Path, symbol: str, cache: Path | None = None) -> CandleColumns:
    """The candles in all files of a symbol in a folder. Raises MarketDataError; also where two files overlap."""
    loaded = [(path, load_file(path, cache)) for path in files_of(folder, symbol)]
    loaded.sort(key=lambda pair: int(pair[1].at[0]))
    for (before, early), (after, late) in pairwise(loaded):
        if late.at[0] <= early.at[-1]:
            fault = f"time not increasing: begins at {late.at[0]}, but {before} ends at {early.at[-1]}"
            raise MarketDataError(after, 0, fault)
    return joined([columns for _, columns in loaded])


def joined(parts: Sequence[CandleColumns]) -> CandleColumns:
    """Parts one after the other."""
    prices = [np.concatenate([getattr(part, name) for part in parts]) for name in _PRICES]
    return columns_of(prices, np.concatenate([part.volume for part in parts]))


def columns_of(prices: Sequence[Column], volume: Volume) -> CandleColumns:
    """From the columns at, open, high, low and close, and the volume."""
    at, opened, high, low, close = prices
    return CandleColumns(at, opened, high, low, close, volume)


def _columns(candles: Candles) -> CandleColumns:
    prices = [np.array(getattr(candles, name), dtype=np.int64) for name in _PRICES]
    return columns_of(prices, np.array(candles.volume, dtype=np.float64))


def _copy_of(path: Path, cache: Path) -> Path | None:
    """Where the copy of the file as it is now stands; None for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    facts = f"{_FORM}|{path.resolve()}|{found.st_size}|{found.st_mtime_ns}"
    return cache / f"{hashlib.blake2s(facts.encode(), digest_size=16).hexdigest()}.npy"


def _read_copy(copy: Path) -> CandleColumns:
    rows = np.load(copy)
    return columns_of(list(rows[: len(_PRICES)]), rows[len(_PRICES)].view(np.float64))


def _write_copy(copy: Path, columns: CandleColumns) -> None:
    """Write the copy in one step. A folder that cannot be written to only costs time at the next load."""
    rows = np.stack([*(getattr(columns, name) for name in _PRICES), columns.volume.view(np.int64)])
    unfinished = copy.with_suffix(f".{id(rows)}.tmp")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as stream:
            np.save(stream, rows)
        unfinished.replace(copy)
    except OSError as error:
        log.info("no binary copy of a candle file", extra={"file": str(copy), "error": str(error)})
