"""Geometric grid: neighbouring levels have the same ratio. Pure."""

from decimal import Decimal
from functools import lru_cache
from typing import Literal

from tasks.settings.grids.common import GridSettings, OneGrid
from tasks.settings.grids.lattice import TrailingRange


class GeometricGrid(GridSettings, TrailingRange):
    """A geometric grid."""

    grid: Literal["geometric"] = "geometric"

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """The levels of the range before it moves."""
        return [self.level_at(first_price, index) for index in range(self.cells + 1)]

    def level_at(self, first_price: Decimal, index: int) -> Decimal:
        """Level i is lower·(upper/lower)^(i/N)."""
        lower, upper = self.ends(first_price)
        return upper if index == self.cells else lower * _ratio(lower, upper, self.cells) ** index


class GeometricSettings(GeometricGrid, OneGrid):
    """A symbol with a geometric grid."""


@lru_cache(maxsize=256)  # a broken power is slow, and each level of a grid needs it
def _ratio(lower: Decimal, upper: Decimal, cells: int) -> Decimal:
    """The ratio of neighbouring levels."""
    return (upper / lower) ** (Decimal(1) / cells)
