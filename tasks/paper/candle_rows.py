"""OHLCV rows, also of longer timeframes, from 1-minute candles."""

from typing import Any

from tasks.paper.candles import MINUTE, Bar, Series
from tasks.paper.ccxt_shapes import TIMEFRAMES

DEFAULT_ROWS = 500
MAX_ROWS = 1000


async def rows(series: Series, done: int, timeframe: str, since: int | None, limit: int | None) -> list[list[Any]]:
    """Rows [market ms, open, high, low, close, volume], oldest first, of candles below index `done`.

    With `since` the earliest `limit` from there, else the latest. The newest row of a longer timeframe may be
    unfinished.
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
    """Candles put together by `minutes` of market time."""
    span = minutes * MINUTE
    out: list[list[Any]] = []
    for bar in bars:
        at = bar.at // span * span if minutes > 1 else bar.at
        opened, high, low, close = (units / 1e8 for units in bar[1:5])
        if out and out[-1][0] == at:
            row = out[-1]
            row[2], row[3], row[4] = max(row[2], high), min(row[3], low), close
            row[5] = round(row[5] + bar.volume, 8)
        else:
            out.append([at, opened, high, low, close, bar.volume])
    return out
