"""A kind of grid is one class: its fields, its rules, its levels. This one spaces levels by the golden ratio."""

from decimal import Decimal
from itertools import pairwise
from typing import Literal

from tasks.base.errors import Problem
from tasks.grid.levels import grid_id
from tasks.settings.grids import ArithmeticSettings, GridSettings
from tasks.settings.grids.price_range import PriceRange
from tasks.settings.section import IsValid
from tests.support.desk import BTC

GROWTH = Decimal("1.618")


class GoldenGrid(GridSettings, PriceRange):
    """Each cell is 1.618 times as wide as the one below it.

    In the program this class has a file of its own in `tasks/settings/grids`, with a class that adds what a symbol
    has; `_AnyKind` there, and `several`, name them. Nothing else knows the kinds of grids.
    """

    grid: Literal["golden"] = "golden"

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """Level i is lower + (upper − lower)·(gⁱ − 1)/(gᴺ − 1)."""
        lower, upper = self.ends(first_price)
        whole = GROWTH**self.cells - 1
        return [lower + (upper - lower) * (GROWTH**i - 1) / whole for i in range(self.cells + 1)]

    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """A rule between this kind's own fields; `load` tells it together with all others."""
        found = super().level_problems(field, is_valid)
        if is_valid("cells") and self.cells > 12:
            rule = "the widest golden cell would be most of the grid"
            found.append(Problem(f"{field}.cells", str(self.cells), rule, "Use at most 12 cells"))
        return found


def test_its_levels() -> None:
    """N cells, N+1 levels, from one end to the other; each cell wider than the one below."""
    levels = GoldenGrid(lower=Decimal(100), upper=Decimal(200), cells=5).raw_levels(Decimal(150))
    assert len(levels) == 6
    assert (levels[0], round(levels[-1], 9)) == (Decimal(100), Decimal(200))
    widths = [high - low for low, high in pairwise(levels)]
    assert all(round(wide / narrow, 6) == GROWTH for narrow, wide in pairwise(widths))


def test_its_id() -> None:
    """Orders carry the grid's id: another kind between the same prices has another one."""
    ends = {"lower": Decimal(100), "upper": Decimal(200), "cells": 5}
    golden, arithmetic = GoldenGrid.model_validate(ends), ArithmeticSettings.model_validate(ends)
    assert grid_id(BTC, golden) != grid_id(BTC, arithmetic)


def test_its_rule() -> None:
    """A problem names the field, the value, the rule and the remedy."""
    many = GoldenGrid(lower=Decimal(100), upper=Decimal(200), cells=30)
    (problem,) = many.level_problems('symbols."BTC/USDT"', lambda *_names: True)
    assert (problem.field, problem.value, problem.remedy) == ('symbols."BTC/USDT".cells', "30", "Use at most 12 cells")
