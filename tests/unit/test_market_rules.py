"""The tick interval: as long as the price needs to the next level, within bounds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.market.rules import distance_to_level, next_interval, variance_rate

SHORTEST, LONGEST = Decimal(2), Decimal(30)


def interval(distance: str, variance: str) -> Decimal:
    """Seconds, between 2 and 30."""
    return next_interval(Decimal(distance), Decimal(variance), SHORTEST, LONGEST)


def test_a_quarter_of_the_time_that_the_price_needs() -> None:
    """1 % away at a variance of 1e-6 per second: 0.0001 / 0.000001 = 100 s, a quarter of it is 25 s."""
    assert interval("0.01", "0.000001") == 25


@pytest.mark.parametrize(
    ("distance", "variance", "expected"),
    [
        ("0.001", "0.000001", SHORTEST),  # 0.25 s
        ("0.1", "0.000001", LONGEST),  # 2,500 s
        ("0", "0.000001", SHORTEST),  # the price is at a level
        ("0.01", "0", LONGEST),  # nothing has moved
    ],
)
def test_the_bounds(distance: str, variance: str, expected: Decimal) -> None:
    """Neither shorter nor longer than configured."""
    assert interval(distance, variance) == expected


shares = st.decimals("0.0001", "0.2", places=4)
variances = st.decimals("0.0000001", "0.001", places=7)


@given(shares, shares, variances, variances)
def test_nearer_and_wilder_ticks_sooner(one: Decimal, two: Decimal, calm: Decimal, wild: Decimal) -> None:
    """The interval grows with the distance and shrinks with the variance."""
    near, far = sorted((one, two))
    calm, wild = sorted((calm, wild))
    assert next_interval(near, wild, SHORTEST, LONGEST) <= next_interval(far, wild, SHORTEST, LONGEST)
    assert next_interval(far, wild, SHORTEST, LONGEST) <= next_interval(far, calm, SHORTEST, LONGEST)


def test_variance_per_second() -> None:
    """Two returns of 1 % over 4 seconds: (0.0001 + 0.0001) / 4, to the rounding of the second return."""
    prices = [(0, Decimal(100)), (2_000, Decimal(101)), (4_000, Decimal("102.01"))]
    assert variance_rate(prices) == Decimal("0.00005")


@pytest.mark.parametrize("prices", [[], [(0, Decimal(100))], [(5, Decimal(100)), (5, Decimal(110))]])
def test_too_few_samples_have_no_variance(prices: list[tuple[int, Decimal]]) -> None:
    """One sample, or two of the same moment, say nothing."""
    assert variance_rate(prices) == 0


def test_distance_to_the_nearest_level() -> None:
    """As a share of the price, on either side."""
    levels = [Decimal(90), Decimal(100), Decimal(120)]
    assert distance_to_level(Decimal(96), levels) == abs(Decimal(100) / 96 - 1)
    assert distance_to_level(Decimal(125), levels) == 1 - Decimal(120) / 125
