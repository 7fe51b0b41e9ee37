"""Volatility of closing prices. Pure."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from statistics import median

from tasks.base.clock import DAY_MS
from tasks.exchange.models import Candle

YEAR_MS = 365 * DAY_MS  # a coin trades every day
DECAY = 0.94  # of a day in the weighted estimate: RiskMetrics' technical document (J. P. Morgan, 1996)
_FEWEST = 3
WANTED = 720  # candles for the spacing of a grid: twelve hours of minutes, one request
ENOUGH = 30


def annual_volatility(closes: Sequence[float], interval_ms: int) -> float:
    """Standard deviation of a year's logarithmic return; 0 with fewer than three closes.

    The mean of two estimates: the standard deviation of the returns of all candles, and their exponentially weighted
    one, in which a day's weight is 0.94 of the next one's. Both are scaled by the square root of the candles of a year,
    as returns of different candles are taken as independent. `closes`: above 0, oldest first. `interval_ms`: the true
    candle length.
    """
    if len(closes) < _FEWEST:
        return 0.0
    returns = [math.log(late / early) for early, late in pairwise(closes)]
    mean = sum(returns) / len(returns)
    plain = sum((one - mean) ** 2 for one in returns) / (len(returns) - 1)
    decay, weighted = DECAY ** (interval_ms / DAY_MS), plain
    for one in returns:
        weighted = decay * weighted + (1 - decay) * one**2
    return (math.sqrt(plain) + math.sqrt(weighted)) / 2 * math.sqrt(YEAR_MS / interval_ms)


def recent_volatility(candles: Sequence[Candle], now_ms: int) -> Decimal | None:
    """`annual_volatility` of those of the newest candles that have closed; None where they are too few.

    `candles`: oldest first. Their true length is the usual distance between two.
    """
    newest = candles[-WANTED - 1 :]  # the last of them may still be open
    if len(newest) <= ENOUGH:
        return None
    interval_ms = int(median(late.at_ms - early.at_ms for early, late in pairwise(newest)))
    closed = [candle for candle in newest if candle.at_ms + interval_ms <= now_ms][-WANTED:]
    return of_closes([float(candle.close) for candle in closed], interval_ms)


def of_closes(closes: Sequence[float], interval_ms: int) -> Decimal | None:
    """`annual_volatility` to four digits; None with fewer than 30 closes."""
    if len(closes) < ENOUGH:
        return None
    return Decimal(str(round(annual_volatility(closes, interval_ms), 4)))
