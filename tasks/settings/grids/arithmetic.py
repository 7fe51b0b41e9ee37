"""Arithmetic grid: neighbouring levels differ by the same amount of quote. Pure."""

from decimal import Decimal
from typing import Literal

from tasks.settings.grids.common import SymbolSettings
from tasks.settings.grids.price_range import PriceRange


class ArithmeticSettings(SymbolSettings, PriceRange):
    """A symbol with an arithmetic grid."""

    grid: Literal["arithmetic"] = "arithmetic"

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """Level i is lower + (upper − lower)·i/N."""
        lower, upper = self.ends(first_price)
        return [lower + (upper - lower) * i / self.cells for i in range(self.cells + 1)]
