"""Candles as the paper exchange moves them about, and what a source of candles must offer. Pure."""

from decimal import Decimal
from typing import NamedTuple, Protocol

from tasks.exchange.models import Candle
from tasks.paper.units import to_units

MINUTE = 60_000  # ms of market time that one candle covers


class Bar(NamedTuple):
    """One candle: market time in ms, prices in units of 1e-8, volume in base."""

    at: int
    open: int
    high: int
    low: int
    close: int
    volume: float


class Series(Protocol):
    """The candles of one symbol; index 0 is the first that trading sees, negative ones are history before it."""

    history: int

    async def length(self) -> int | None:
        """How many candles there are from index 0 on; None: no end."""

    async def bars(self, start: int, stop: int) -> list[Bar]:
        """Candles `start` … `stop`−1 (fewer at the end)."""

    async def find(self, at_ms: int) -> int:
        """Index of the first candle that opens at or after `at_ms` of market time."""


def bar_of(candle: Candle) -> Bar:
    """A `Candle` as a `Bar`; prices must have at most 8 decimals."""
    opened, high, low, close = map(to_units, (candle.open, candle.high, candle.low, candle.close))
    return Bar(candle.at_ms, opened, high, low, close, float(candle.volume))


def pack(bar: Bar) -> str:
    """A candle as one text, for a Redis list."""
    return "|".join(str(field) for field in bar)


def unpack(text: str) -> Bar:
    """The candle in a text made by `pack`."""
    at, opened, high, low, close, volume = text.split("|")
    return Bar(int(at), int(opened), int(high), int(low), int(close), float(volume))


def price_of(units: int) -> Decimal:
    """Units → price."""
    return Decimal(units).scaleb(-8)
