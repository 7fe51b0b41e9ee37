"""Volatility and the dynamic tick interval. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from tasks.base.money import ZERO


def variance_rate(prices: Sequence[tuple[int, Decimal]]) -> Decimal:
    """Variance of returns per second from (time in ms, price) samples, oldest first; 0 with fewer than two.

    The realised-variance estimator: the sum of squared returns over the time they span.
    """
    if len(prices) < 2:
        return ZERO
    seconds = Decimal(prices[-1][0] - prices[0][0]) / 1000
    if seconds <= 0:
        return ZERO
    squares = sum(((late / early - 1) ** 2 for (_, early), (_, late) in pairwise(prices)), ZERO)
    return squares / seconds


def next_interval(distance: Decimal, variance_per_second: Decimal, shortest: Decimal, longest: Decimal) -> Decimal:
    """Seconds until the next tick, within [shortest, longest].

    `distance` is the way to the nearest level as a share of the price. A Brownian price needs about
    distance² / variance seconds to cover it (mean exit time of an interval); a quarter of that leaves room to act
    before the level is reached. With no measured movement: the longest.
    """
    if variance_per_second <= 0:
        return longest
    return min(max(distance * distance / variance_per_second / 4, shortest), longest)


def distance_to_level(price: Decimal, levels: Sequence[Decimal]) -> Decimal:
    """Share of the price between it and the nearest level; 0 levels raise ValueError."""
    return min(abs(level / price - 1) for level in levels)
