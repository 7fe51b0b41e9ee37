"""Arithmetic grid: neighbouring levels differ by the same amount of quote. Pure."""

from decimal import Decimal
from typing import Literal, Self

from tasks.settings.grids.common import GridSettings, OneGrid
from tasks.settings.grids.lattice import TrailingRange


class ArithmeticGrid(GridSettings, TrailingRange):
    """An arithmetic grid."""

    grid: Literal["arithmetic"] = "arithmetic"

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """The levels of the range before it moves."""
        return [self.level_at(first_price, index) for index in range(self.cells + 1)]

    def level_at(self, first_price: Decimal, index: int) -> Decimal:
        """Level i is lower + (upper − lower)·i/N."""
        lower, upper = self.ends(first_price)
        return lower + (upper - lower) * index / self.cells

    @property
    def narrowest(self) -> Self:
        """The range at its highest place: its cells keep their width, so they earn the least of their price there."""
        if self.trail_up_to is None or self.lower is None or self.upper is None:
            return self
        return self.model_copy(
            update={"lower": self.trail_up_to - (self.upper - self.lower), "upper": self.trail_up_to}
        )


class ArithmeticSettings(ArithmeticGrid, OneGrid):
    """A symbol with an arithmetic grid."""
