"""Geometric grid: neighbouring levels have the same ratio. Pure."""

from decimal import Decimal
from typing import Literal

from tasks.settings.grids.common import SymbolSettings
from tasks.settings.grids.price_range import PriceRange


class GeometricSettings(SymbolSettings, PriceRange):
    """A symbol with a geometric grid."""

    grid: Literal["geometric"] = "geometric"

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """Level i is lower·(upper/lower)^(i/N)."""
        lower, upper = self.ends(first_price)
        ratio = (upper / lower) ** (Decimal(1) / self.cells)
        return [lower * ratio**i for i in range(self.cells)] + [upper]
