"""Candle files as a market: checked once, then read file by file as the market reaches them."""

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tasks.base.errors import MarketDataError
from tasks.paper.candle_files import Candles, files_of, read_file, step_ms
from tasks.paper.candles import MINUTE, Bar

_KEPT = 2  # files held in memory per symbol: the one at the cursor and its neighbour


@dataclass(frozen=True, slots=True)
class FileSpan:
    """One candle file: how many candles, market time (ms) of its first and last, minutes missing within.

    `step_ms`: the usual distance of its candles. `first_open`: units; 0 in records of an earlier version.
    """

    path: str
    rows: int
    first: int
    last: int
    gaps: int
    step_ms: int = MINUTE
    first_open: int = 0

    def record(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def scan(folder: Path, symbol: str) -> list[FileSpan]:
    """Read and check every file of `symbol`, in order of time. Raises MarketDataError for the first bad one."""
    spans = sorted((_span(path) for path in files_of(folder, symbol)), key=lambda span: span.first)
    for fault in _overlaps(spans):
        raise fault
    return spans


@dataclass(frozen=True)
class Inspection:
    """The readable candle files of one symbol, in order of time, and what is wrong with the others."""

    spans: tuple[FileSpan, ...]
    faults: tuple[MarketDataError, ...]


def inspect(folder: Path, symbol: str) -> Inspection:
    """Read every file of `symbol`: the first error in each, and where files overlap."""
    spans, found = [], []
    try:
        paths = files_of(folder, symbol)
    except MarketDataError as error:
        return Inspection((), (error,))
    for path in paths:
        try:
            spans.append(_span(path))
        except MarketDataError as error:
            found.append(error)
    spans.sort(key=lambda span: span.first)
    return Inspection(tuple(spans), (*found, *_overlaps(spans)))


def faults(folder: Path, symbol: str) -> list[MarketDataError]:
    """The first error in each file of `symbol`, and where files overlap."""
    return list(inspect(folder, symbol).faults)


def _span(path: Path) -> FileSpan:
    candles = read_file(path)
    ends = candles.at[0], candles.at[-1]
    return FileSpan(str(path), len(candles), *ends, candles.gaps(), step_ms(candles.at), candles.open[0])


def _overlaps(spans: list[FileSpan]) -> list[MarketDataError]:
    return [
        MarketDataError(
            Path(after.path),
            0,
            f"time not increasing: begins at {after.first}, but {before.path} ends at {before.last}",
        )
        for before, after in pairwise(spans)
        if after.first <= before.last
    ]


class ReplaySeries:
    """The candles of one symbol's files, one after the other."""

    history = 0

    def __init__(self, spans: list[FileSpan]) -> None:
        self._spans = spans
        self._starts = [0]
        for span in spans:
            self._starts.append(self._starts[-1] + span.rows)
        self._loaded: OrderedDict[int, Candles] = OrderedDict()

    async def length(self) -> int:
        return self._starts[-1]

    async def bars(self, start: int, stop: int) -> list[Bar]:
        found: list[Bar] = []
        for number, (first, end) in enumerate(pairwise(self._starts)):
            if start < end and stop > first:
                candles = await self._file(number)
                found += candles.slice(max(start - first, 0), min(stop, end) - first)
        return found

    async def find(self, at_ms: int) -> int:
        for number, span in enumerate(self._spans):
            if at_ms <= span.last:
                return self._starts[number] + bisect_left((await self._file(number)).at, at_ms)
        return self._starts[-1]

    async def _file(self, number: int) -> Candles:
        if number not in self._loaded:
            span = self._spans[number]
            candles = await asyncio.to_thread(read_file, Path(span.path))
            if (len(candles), candles.at[0], candles.at[-1]) != (span.rows, span.first, span.last):
                fault = "the file changed after the paper market was opened; restore it, or start with another --state"
                raise MarketDataError(Path(span.path), 0, fault)
            self._loaded[number] = candles
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(number)
        return self._loaded[number]
