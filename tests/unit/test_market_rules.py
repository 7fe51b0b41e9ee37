"""The tick interval: as long as the price needs to the next level, within bounds."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.grid.models import Grid
from tasks.market.rules import distance_to_level, next_interval, variance_rate
from tasks.settings.model import TradingSettings
from tasks.tick.report import interval_of

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


@given(st.integers(3, 29))
def test_within_the_bounds_both_parts_count(seconds: int) -> None:
    """Twice the distance waits four times as long; twice the variance half as long. No bound is reached."""
    wide = {"shortest": Decimal("0.001"), "longest": Decimal(10_000)}
    variance = Decimal("0.0001") / 4 / seconds
    assert next_interval(Decimal("0.01"), variance, **wide) == pytest.approx(seconds)
    assert next_interval(Decimal("0.02"), variance, **wide) == pytest.approx(4 * seconds)
    assert next_interval(Decimal("0.01"), 2 * variance, **wide) == pytest.approx(Decimal(seconds) / 2)


def planned(price: str, moves: Sequence[str], *, is_active: bool = False) -> Decimal:
    """The interval that a tick plans at this price, with levels at 90, 100 and 110; one price every ten seconds."""
    grid = Grid(
        grid_id="g",
        symbol="BTC/USDT",
        levels=(Decimal(90), Decimal(100), Decimal(110)),
        first_price=Decimal(100),
        created_ms=0,
    )
    samples = [(number * 10_000, Decimal(one)) for number, one in enumerate(moves)]
    return interval_of(grid, Decimal(price), samples, TradingSettings(), is_active)


CALM, WILD = ("105", "106", "105"), ("105", "107", "105")


def test_a_tick_plans_by_the_distance_to_the_nearest_level() -> None:
    """On either side of the price; the same prices before it."""
    middle, near_upper, near_lower = (planned(price, CALM) for price in ("105", "108", "101.8"))
    assert middle == 30
    assert 2 < near_lower < near_upper < middle
    assert planned("108", CALM) == pytest.approx(planned("92", CALM), rel=Decimal("0.4")), "110 and 90 are as far away"
    assert planned("100", CALM) == 2, "the price is at a level"


def test_a_tick_plans_by_the_volatility_of_its_newest_prices() -> None:
    """Twice the moves: a quarter of the time."""
    calm, wild = planned("101.8", CALM), planned("101.8", WILD)
    assert 2 < wild < calm < 30
    assert wild == pytest.approx(calm / 4, rel=Decimal("0.05"))
    assert planned("105", WILD) < planned("105", CALM)
    assert planned("105", ("105", "105", "105")) == 30, "nothing moved"
    assert planned("101.8", ("105", "105", "107")) < 30, "each of them counts"
    assert planned("101.8", ("107", "105", "105")) < 30


def test_a_tick_that_changed_orders_or_knows_too_little_is_soon_followed() -> None:
    """By the shortest interval."""
    assert planned("105", CALM, is_active=True) == 2
    assert planned("105", ("105", "105")) == 2


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
