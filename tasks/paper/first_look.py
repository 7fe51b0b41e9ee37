"""What a paper market will be, before it is opened: first prices, filters, and what is odd about its candle files."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.paper.candle_files import skipped_files
from tasks.paper.replay import FileSpan, Inspection, inspect
from tasks.paper.synthetic import start_price
from tasks.paper.units import filters_for
from tasks.settings.model import ExchangeSettings

_MINUTE_MS = 60_000


def first_prices(spans: Mapping[str, Sequence[FileSpan]], symbols: Sequence[str], market: str) -> dict[str, Decimal]:
    """The price at which each symbol begins, where it is known: the first candle's, or about the synthetic one."""
    if market == "synthetic":
        return {symbol: start_price(symbol) for symbol in symbols}
    return {symbol: from_units(found[0].first_open) for symbol, found in spans.items() if found}


def paper_market(symbol: str, price: Decimal, exchange: ExchangeSettings) -> Market:
    """The filters and fees that the paper exchange gives the symbol."""
    base, quote = symbol.split("/")
    filters = filters_for(symbol, price)
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=filters.tick,
        lot_step=filters.lot,
        min_qty=filters.min_qty,
        max_qty=filters.max_qty,
        min_notional=filters.min_notional,
        maker_fee=exchange.maker_fee,
        taker_fee=exchange.taker_fee,
    )


def inspections(folder: Path, symbols: Sequence[str]) -> dict[str, Inspection]:
    """What the candle files of each symbol hold; reads every file once."""
    return {symbol: inspect(folder, symbol) for symbol in symbols}


def candle_notes(folder: Path, found: Mapping[str, Inspection]) -> list[str]:
    """What is odd about the candle files, and what a replay does about it: files of other lengths, gaps, steps."""
    notes = []
    for symbol, inspection in found.items():
        skipped = skipped_files(folder, symbol)
        if skipped:
            names = ", ".join(path.name for path in skipped)
            notes.append(f"{symbol}: a replay reads 1-minute candles only. Skipped: {names}")
        notes += [f"{symbol}: {note}" for note in span_notes(inspection.spans)]
    return notes


def span_notes(spans: Sequence[FileSpan]) -> list[str]:
    """Gaps in one symbol's candles, and candles further apart than a minute."""
    notes = []
    for span in spans:
        if span.step_ms > _MINUTE_MS:
            minutes = span.step_ms / _MINUTE_MS
            notes.append(
                f"the candles of {Path(span.path).name} are {minutes:g} minutes apart. "
                "Each is played as one minute of market time"
            )
    gaps = sum(span.gaps for span in spans if span.step_ms <= _MINUTE_MS)
    gaps += sum(
        max((after.first - before.last) // _MINUTE_MS - 1, 0)
        for before, after in pairwise(spans)
        if after.step_ms <= _MINUTE_MS
    )
    if gaps:
        notes.append(f"{gaps:,} minutes have no candle. The market goes on with the next candle; no price is made up")
    return notes
