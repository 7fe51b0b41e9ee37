"""Candles: what a source of candles must offer, candles given as a list, and rows of longer timeframes."""

from typing import Any, NamedTuple, Protocol

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.units import to_units

MINUTE = 60_000  # ms of market time that one candle covers
TIMEFRAMES = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}  # minutes
DEFAULT_ROWS = 500
MAX_ROWS = 1000


class Bar(NamedTuple):
    """One candle: market time in ms, prices in units of 1e-8, volume in base."""

    at: int
    open: int
    high: int
    low: int
    close: int
    volume: float


class Series(Protocol):
    """The candles of one symbol. Index 0 is the first candle that is traded on; negative indexes are its history."""

    history: int

    async def length(self) -> int | None:
        """How many candles there are from index 0 on; None for a series without an end."""

    async def bars(self, start: int, stop: int) -> list[Bar]:
        """Candles `start` … `stop`−1 (fewer at the end)."""

    async def find(self, at_ms: int) -> int:
        """Index of the first candle that opens at or after `at_ms` of market time."""


def bar_of(candle: Candle) -> Bar:
    """A `Candle` as a `Bar`; prices must have at most 8 decimals."""
    open_price, high, low, close = map(to_units, (candle.open, candle.high, candle.low, candle.close))
    return Bar(candle.at_ms, open_price, high, low, close, float(candle.volume))


def pack(bar: Bar) -> str:
    """A candle as one text, for a Redis list."""
    return "|".join(str(field) for field in bar)


def unpack(text: str) -> Bar:
    """The candle in a text made by `pack`."""
    at, open_price, high, low, close, volume = text.split("|")
    return Bar(int(at), int(open_price), int(high), int(low), int(close), float(volume))


class ManualSeries:
    """Candles given as a list, kept in Redis so that every process sees the same market. For tests and manual use."""

    history = 0

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    async def length(self) -> int:
        return int(await self._redis.llen(self._key))

    async def bars(self, start: int, stop: int) -> list[Bar]:
        texts = await self._redis.lrange(self._key, start, stop - 1) if stop > start else []
        return [unpack(str(text)) for text in texts]

    async def find(self, at_ms: int) -> int:
        bars = await self.bars(0, await self.length())
        return next((index for index, bar in enumerate(bars) if bar.at >= at_ms), len(bars))


async def rows(series: Series, done: int, timeframe: str, since: int | None, limit: int | None) -> list[list[Any]]:
    """OHLCV rows [market ms, open, high, low, close, volume], oldest first, of the candles below index `done`.

    With `since` (market ms): the earliest `limit` rows from there, else the latest. The newest row of a longer
    timeframe may be incomplete.
    """
    minutes = TIMEFRAMES[timeframe]
    count = min(limit or DEFAULT_ROWS, MAX_ROWS)
    if since is None:
        start = max(done - (count + 1) * minutes, -series.history)
    else:
        span = minutes * MINUTE
        start = max(await series.find(-(-since // span) * span), -series.history)
    stop = min(done, start + (count + 1) * minutes)
    found = merged(await series.bars(start, stop), minutes) if stop > start else []
    return found[-count:] if since is None else found[:count]


def merged(bars: list[Bar], minutes: int) -> list[list[Any]]:
    """OHLCV rows of `minutes` of market time each, from 1-minute candles."""
    span = minutes * MINUTE
    out: list[list[Any]] = []
    for bar in bars:
        at = bar.at // span * span if minutes > 1 else bar.at
        open_price, high, low, close = (units / 1e8 for units in bar[1:5])
        if out and out[-1][0] == at:
            row = out[-1]
            row[2], row[3], row[4] = max(row[2], high), min(row[3], low), close
            row[5] = round(row[5] + bar.volume, 8)
        else:
            out.append([at, open_price, high, low, close, bar.volume])
    return out
