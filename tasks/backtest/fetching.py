"""Fetches 1-minute candles from an exchange into a folder. An interrupted fetch goes on where it ended."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tasks.backtest.candle_store import Month, load_month, merged, missing_spans, month_file, months, save_month
from tasks.backtest.candles import CandleColumns
from tasks.exchange.models import Candle
from tasks.paper.candles import MINUTE

PAGE = 1000  # candles asked for at once; an exchange may give fewer
_PAGES_A_SAVE = 20

Progress = Callable[[int], None]


class CandleSource(Protocol):
    """Where candles come from: `CcxtClient`."""

    async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
        """1-minute bars from `since_ms` on, oldest first."""


class Fetched(NamedTuple):
    """What a fetch brought. `gaps`: times (ms) without candles, from the first missing minute to before the next."""

    new: int
    candles: int
    gaps: Sequence[tuple[int, int]]


async def fetch(
    source: CandleSource,
    symbol: str,
    folder: Path,
    start_ms: int,
    end_ms: int,
    now_ms: int,
    on_progress: Progress,
) -> Fetched:
    """Fetch what the folder lacks from `start_ms` to before `end_ms`; a candle that is not over is left out.

    `on_progress` gets the time (ms) up to which all is there. Raises ExchangeUnavailable; what came before is saved.
    """
    end_ms = min(end_ms, now_ms // MINUTE * MINUTE)
    new, total, gaps = 0, 0, list[tuple[int, int]]()
    for month in months(start_ms, end_ms):
        fetching = _MonthFetch(source, symbol, month_file(folder, symbol, month), on_progress)
        await fetching.run(max(month.start_ms, start_ms), min(month.end_ms, end_ms), month)
        new += fetching.new
        if fetching.columns is not None:
            total += len(fetching.columns)
            gaps += missing_spans(fetching.columns)
    return Fetched(new, total, gaps)


class _MonthFetch:
    """The fetch of one month's file."""

    def __init__(self, source: CandleSource, symbol: str, path: Path, on_progress: Progress) -> None:
        self.source, self.symbol, self.path, self.on_progress = source, symbol, path, on_progress
        self.columns = load_month(path)
        self.new = 0
        self._pending: list[Candle] = []

    async def run(self, start_ms: int, end_ms: int, month: Month) -> None:
        """Fetch what is missing before the first and after the last stored candle."""
        spans = [(start_ms, end_ms)]
        if self.columns is not None:
            first, last = int(self.columns.at[0]), int(self.columns.at[-1])
            spans = [(start_ms, min(first, end_ms)), (max(last + MINUTE, start_ms), end_ms)]
        try:
            for begin, end in spans:
                await self._span(begin, end)
        finally:
            self._save()
        self.on_progress(min(end_ms, month.end_ms))

    async def _span(self, since_ms: int, end_ms: int) -> None:
        while since_ms < end_ms:
            page = await self.source.candles(self.symbol, since_ms, PAGE)
            rows = [one for one in page if since_ms <= one.at_ms < end_ms]
            self._pending += rows
            self.new += len(rows)
            if len(self._pending) >= PAGE * _PAGES_A_SAVE:
                self._save()
            # An empty page: no trade for so long. A page that begins later: nothing was traded before it.
            since_ms = page[-1].at_ms + MINUTE if page and page[-1].at_ms >= since_ms else since_ms + PAGE * MINUTE
            self.on_progress(min(since_ms, end_ms))

    def _save(self) -> None:
        if self._pending:
            self.columns = merged(self.path, self.columns, CandleColumns.of(self._pending))
            save_month(self.path, self.columns)
            self._pending = []
