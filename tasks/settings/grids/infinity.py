"""Infinity grid: no highest price. What is held keeps its worth while the price rises: each level sells the rise. Pure.

Level i is lower·(1 + s)^i, s the spacing. With the worth V held at every price, a rise by one level sells V·s/(1 + s)
of quote worth of base, at its lower level: all cells spend the same quote. What all cells above a level p hold together
is V/p base. Only the cells near the price have orders. The highest of them holds the base of all cells above it too,
the reserve; where the range moves up, the reserve gives each new cell its part.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.grids.common import ONE, CellWeights, Earn, GridSettings, OneGrid, StartMode, TrailLimits
from tasks.settings.grids.price_range import LOWER
from tasks.settings.grids.spacing import SpacedLevels
from tasks.settings.section import NOT_SET, IsValid, Price

_ENDLESS = Decimal("Infinity")
_USUAL_SPACING = Decimal("0.01")
_FEWEST_CELLS = 4  # below it, no cell would stay on either side of the price


class InfinityGrid(GridSettings, SpacedLevels):
    """An infinity grid. A cell keeps its index and its prices wherever the range is."""

    grid: Literal["infinity"] = "infinity"
    lower: Price | None = LOWER

    @property
    def spacing(self) -> Decimal:
        """The spacing in force."""
        return self.spacing_pct or _USUAL_SPACING

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """The levels of the range at its start: half of its cells are below the price, as far as `lower` allows."""
        first = self.start_index(first_price)
        return [self.level_at(first_price, first + number) for number in range(self.cells + 1)]

    def level_at(self, first_price: Decimal, index: int) -> Decimal:  # noqa: ARG002
        """Level i is lower·(1 + spacing)^i; none below `lower`."""
        assert self.lower is not None
        return self.lower * (1 + self.spacing) ** index if index >= 0 else Decimal(0)

    def start_index(self, first_price: Decimal) -> int:
        """Index of the lowest level of the range at its start."""
        return max(self._index_at(first_price) - self.cells // 2, 0)

    def _index_at(self, price: Decimal) -> int:
        """Index of the cell that holds the price; -1 below all."""
        assert self.lower is not None
        return _index_at(self.lower, self.spacing, price)

    def geometry(self) -> Mapping[str, str | None]:
        """The lowest level and the spacing. The number of cells is no part of it: another one keeps the grid."""
        lower = None if self.lower is None else plain(self.lower)
        return {"lower": lower, "spacing_pct": plain(self.spacing), "cells": None}

    @property
    def is_relative(self) -> bool:
        """The levels stand still; the first price only says where the range starts."""
        return False

    @property
    def trail_limits(self) -> TrailLimits:
        """The range follows a rising price without end, and a falling one down to `lower`."""
        return TrailLimits(_ENDLESS, self.lower)

    @property
    def room(self) -> int:
        """A quarter of the cells stays on either side of the price."""
        return self.cells // 4

    @property
    def reserve_share(self) -> Decimal:
        """Part of the reserve that the lowest cell it stands for sells: s/(1 + s)."""
        return self.spacing / (1 + self.spacing)

    def cell_weights(self, first_price: Decimal) -> CellWeights:
        """All cells spend the same at their own levels; the highest stands for all above it too: (1 + s)/s cells."""
        assert self.lower is not None
        return _weights(self.lower, self.spacing, self.cells, self.start_index(first_price), first_price)

    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """The lowest level is given, the grid starts balanced and earns in quote, all cells spend the same."""
        found = []
        if is_valid("lower") and self.lower is None:
            rule, remedy = "an infinity grid needs its lowest level", "Give a price well below today's"
            found.append(Problem(f"{field}.lower", NOT_SET, rule, remedy))
        if is_valid("start") and self.start is not StartMode.BALANCED:
            rule = "an infinity grid holds base from its start"
            found.append(Problem(f"{field}.start", self.start.value, rule, 'Write start = "balanced"'))
        if is_valid("earn") and self.earn is Earn.BASE:
            rule = "an infinity grid sells the rise, so that what it holds keeps its worth"
            found.append(Problem(f"{field}.earn", self.earn.value, rule, 'Write earn = "quote"'))
        if is_valid("cells") and self.cells < _FEWEST_CELLS:
            rule = f"an infinity grid has at least {_FEWEST_CELLS} cells around the price"
            found.append(Problem(f"{field}.cells", str(self.cells), rule, "Use more"))
        for name, usual in (("size_factor", ONE), ("base_per_cell", None)):
            value = getattr(self, name)
            if is_valid(name) and value != usual:
                rule = "all cells of an infinity grid spend the same quote"
                found.append(Problem(f"{field}.{name}", plain(value), rule, "Leave it out, or use quote_per_cell"))
        return found

    def range_text(self) -> str:
        """`from 30000 up, 1 % apart`."""
        lower = NOT_SET if self.lower is None else plain(self.lower)
        return f"from {lower} up, {plain(self.spacing * 100)} % apart"


class InfinitySettings(InfinityGrid, OneGrid):
    """A symbol with an infinity grid."""


@lru_cache(maxsize=256)  # a logarithm is slow, and every tick asks
def _index_at(lower: Decimal, spacing: Decimal, price: Decimal) -> int:
    if price < lower:
        return -1
    ratio = 1 + spacing
    index = int((price / lower).ln() / ratio.ln())
    while lower * ratio ** (index + 1) <= price:
        index += 1
    while lower * ratio**index > price:
        index -= 1
    return index


@lru_cache(maxsize=256)  # every tick sizes all cells
def _weights(lower: Decimal, spacing: Decimal, cells: int, first_index: int, price: Decimal) -> CellWeights:
    """A cell above the price holds what its quote buys at its own level: at the price, that costs less."""
    ratio, at = 1 + spacing, _index_at(lower, spacing, price)
    whole = ratio / spacing
    parts = [price / (lower * ratio**index) if index > at else ONE for index in range(first_index, first_index + cells)]
    entries = (*parts[:-1], parts[-1] * whole)
    total = at + 1 + whole * price / (lower * ratio ** (at + 1))
    return CellWeights((ONE,) * (cells - 1) + (whole,), total, entries)
