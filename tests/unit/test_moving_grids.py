"""Ranges that follow the price, and adaptive grids: where their levels are, and when they move."""

import math
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.exchange.models import Candle
from tasks.grid.levels import grid_id, is_grid_of, unchecked_grid
from tasks.grid.models import Grid
from tasks.grid.window import has_left, moved, place_of
from tasks.market.volatility import recent_volatility
from tasks.settings.grids import KINDS, AdaptiveSettings, OneGrid
from tests.support.backtests import market
from tests.support.desk import BTC

MARKET = market(BTC)
RANGE: dict[str, Any] = {"lower": "40000", "upper": "44000", "cells": 4}
BOTH = {"trail_up_to": "60000", "trail_down_to": "30000"}
MINUTE = 60_000


def own(kind: str = "arithmetic", **fields: Any) -> OneGrid:
    """Settings of this kind, from 40000 to 44000 with four cells where the kind has a range."""
    return KINDS[kind].model_validate(RANGE | fields if kind != "adaptive" else fields)


def grid_of(settings: OneGrid, price: str = "42000") -> Grid:
    """The grid that starts at this price."""
    return unchecked_grid(BTC, settings, MARKET, Decimal(price), 0)


def followed(settings: OneGrid, *prices: str) -> Grid:
    """The grid after these prices."""
    grid = grid_of(settings)
    for price in prices:
        at = place_of(grid, settings, MARKET, Decimal(price))
        grid = grid if at == grid.first_index else moved(grid, at, settings, MARKET, 1)
    return grid


@pytest.mark.parametrize(
    ("price", "first_index", "lower", "upper"),
    [
        ("44999.99", 0, 40000, 44000),  # less than a cell above
        ("45000", 2, 42000, 46000),  # a whole cell above: the highest cell holds the price
        ("47500", 4, 44000, 48000),
        ("99000", 16, 56000, 60000),  # as far as the limit
        ("39000.01", 0, 40000, 44000),
        ("39000", -1, 39000, 43000),
        ("38999", -2, 38000, 42000),
        ("1", -10, 30000, 34000),
    ],
)
def test_the_range_follows_the_price_by_whole_cells(price: str, first_index: int, lower: int, upper: int) -> None:
    """The number of cells stays, levels stay on the lattice of the first range."""
    grid = followed(own(**BOTH), price)
    assert grid.first_index == first_index
    assert [grid.levels[0], grid.levels[-1]] == [lower, upper]
    assert len(grid.levels) == RANGE["cells"] + 1


def test_one_direction_alone() -> None:
    """A range that follows a rise stays where it is when the price falls; without limits none moves."""
    up = own(trail_up_to="60000")
    assert followed(up, "47500", "35000").levels[0] == 44000
    assert followed(own(trail_down_to="30000"), "47500").first_index == 0
    assert followed(own(), "47500", "10000").first_index == 0


def test_a_range_that_may_move_no_longer_is_back_at_its_start() -> None:
    """The settings say where the range is once no limit lets it be elsewhere."""
    grid = followed(own(**BOTH), "47500")
    assert place_of(grid, own(), MARKET, Decimal(47500)) == 0


@given(
    kind=st.sampled_from(["arithmetic", "geometric"]),
    prices=st.lists(st.integers(31_000, 59_000), min_size=1, max_size=12),
)
def test_a_cell_keeps_its_prices_wherever_the_range_is(kind: str, prices: list[int]) -> None:
    """An index names one pair of prices for ever; the range has N cells, in reach of the price or at its limits."""
    settings = own(kind, **BOTH)
    grid, seen = grid_of(settings), dict[int, tuple[Decimal, Decimal]]()
    for price in map(Decimal, prices):
        at = place_of(grid, settings, MARKET, price)
        grid = moved(grid, at, settings, MARKET, 1)
        for index, ends in zip(grid.indices, pairwise(grid.levels), strict=True):
            assert seen.setdefault(index, ends) == ends
            assert grid.has_had(index)
        wide = grid.levels[1] - grid.levels[0], grid.levels[-1] - grid.levels[-2]
        assert grid.levels[0] - 2 * wide[0] <= price <= grid.levels[-1] + 2 * wide[1]
        assert place_of(grid, settings, MARKET, price) == at  # it does not move on at the same price
    assert grid.levels[0] >= 30_000
    assert grid.levels[-1] <= 60_000


def test_trailing_changes_no_id() -> None:
    """A limit of trailing does not say where levels are: orders keep their grid when it is set or taken away."""
    assert grid_id(BTC, own()) == grid_id(BTC, own(**BOTH))
    assert is_grid_of(followed(own(**BOTH), "47500"), own())


@pytest.mark.parametrize(
    ("volatility", "spacing"),
    [
        ("0", "0.01"),
        ("0.1", "0.01"),
        ("0.25", "0.025"),
        ("0.3", "0.03"),
        ("0.5", "0.04"),
        (None, "0.025"),
    ],
)
def test_spacing_by_volatility(volatility: str | None, spacing: str) -> None:
    """clamp(2.5 + 10·(σ − 0.25), 1, 4) percent; the usual volatility where none is known."""
    found = own("adaptive").fitted(None if volatility is None else Decimal(volatility))
    assert found.spacing_in_force == Decimal(spacing)


def test_levels_of_an_adaptive_grid() -> None:
    """Index 0 is the centre, half of the cells are below it, and neighbours have the same ratio."""
    grid = grid_of(own("adaptive", cells=5, spacing_pct="0.02"), "50000")
    assert grid.first_index == -2
    assert grid.levels[2] == 50_000
    assert all(abs(high / low - Decimal("1.02")) < Decimal("0.000001") for low, high in pairwise(grid.levels))


def test_each_centre_has_its_own_id() -> None:
    """An order id names one price: another centre or spacing is another grid. Settings alone keep the one in force."""
    settings = own("adaptive", cells=6)
    one, two = (grid_of(settings.fitted(Decimal("0.3")), price) for price in ("50000", "50001"))
    assert one.grid_id != two.grid_id
    assert one.grid_id != grid_of(settings.fitted(Decimal("0.2")), "50000").grid_id
    assert is_grid_of(one, settings)
    assert is_grid_of(two, settings.model_copy(update={"recentre": "up"}))
    assert not is_grid_of(one, own("adaptive", cells=7))


@pytest.mark.parametrize(
    ("recentre", "above", "below"),
    [("both", True, True), ("up", True, False), ("down", False, True), ("never", False, False)],
)
def test_where_an_adaptive_grid_starts_anew(recentre: str, above: bool, below: bool) -> None:
    """Once the price has left the range by a cell, where the settings say so."""
    settings = own("adaptive", cells=4, spacing_pct="0.01", recentre=recentre)
    grid = grid_of(settings, "50000")
    up, down = grid.levels[-1] * 2 - grid.levels[-2], grid.levels[0] * 2 - grid.levels[1]
    tick = Decimal("0.01")
    assert has_left(grid, settings, up) is above
    assert has_left(grid, settings, down) is below
    assert not has_left(grid, settings, up - tick)
    assert not has_left(grid, settings, down + tick)


def candles(count: int, swing: float, every_ms: int = MINUTE) -> list[Candle]:
    """Closes that go up and down by `swing`."""
    prices = [Decimal(str(round(100 * math.exp(swing * (number % 2)), 8))) for number in range(count)]
    return [
        Candle(at_ms=number * every_ms, open=price, high=price, low=price, close=price, volume=Decimal(1))
        for number, price in enumerate(prices)
    ]


def test_volatility_of_closed_candles() -> None:
    """±s a candle is a deviation of s a candle, annualised by the true length; the open candle does not count."""
    now_ms = 201 * MINUTE
    found = recent_volatility(candles(202, 0.001), now_ms)
    assert found is not None
    assert float(found) == pytest.approx(0.001 * math.sqrt(365 * 24 * 60), rel=0.01)
    by_five = recent_volatility(candles(202, 0.001, 5 * MINUTE), now_ms * 5)
    assert float(by_five or 0) == pytest.approx(float(found) / math.sqrt(5), rel=0.01)
    wild = [*candles(201, 0.001), candles(1, 0.0)[0].model_copy(update={"at_ms": 201 * MINUTE, "close": Decimal(900)})]
    assert recent_volatility(wild, now_ms) == recent_volatility(candles(201, 0.001), now_ms)
    assert recent_volatility(candles(20, 0.001), now_ms) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"trail_up_to": "43000"}, "trail_up_to"),
        ({"trail_down_to": "41000"}, "trail_down_to"),
    ],
)
def test_a_limit_inside_the_range_is_refused(fields: dict[str, str], named: str) -> None:
    """It names the field, the value, the rule and the remedy."""
    (problem,) = own(**fields).level_problems("s", lambda *_: True)
    assert (problem.field, problem.value) == (f"s.{named}", fields[named])
    assert "no room to move" in problem.rule


def test_the_narrowest_cells_are_checked() -> None:
    """An arithmetic range that moves up earns a smaller share per cell; an adaptive one may become narrow."""
    narrow = own(trail_up_to="2000000").narrowest.raw_levels(Decimal(1))
    assert [narrow[0], narrow[-1]] == [1_996_000, 2_000_000]
    adaptive = own("adaptive", min_spacing_pct="0.001").narrowest
    assert isinstance(adaptive, AdaptiveSettings)
    assert adaptive.spacing == Decimal("0.001")
