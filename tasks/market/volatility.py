"""Volatility of closing prices. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise

from tasks.base.clock import DAY_MS

YEAR_MS = 365 * DAY_MS  # a coin trades every day
DECAY = 0.94  # of a day in the weighted estimate: RiskMetrics' technical document (J. P. Morgan, 1996)
_FEWEST = 3


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
