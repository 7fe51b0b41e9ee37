"""Adaptive grid: spacing by volatility, around a centre that follows the price. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Self

from pydantic import Field

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.grids.common import GridSettings, OneGrid
from tasks.settings.grids.spacing import SpacedLevels, Spacing
from tasks.settings.section import IsValid

_STEP = Decimal("0.0001")  # a spacing is a whole number of basis points
USUAL_VOLATILITY = Decimal("0.25")  # annualised; taken where too few candles are known


class AdaptiveGrid(GridSettings, SpacedLevels):
    """An adaptive grid. Each centre is a grid of its own: its id names the centre and the spacing."""

    grid: Literal["adaptive"] = "adaptive"
    min_spacing_pct: Spacing = Field(Decimal("0.01"), description="smallest spacing by volatility, above 0, below 1")
    max_spacing_pct: Spacing = Field(Decimal("0.04"), description="largest spacing by volatility, above 0, below 1")
    recentre: Literal["both", "up", "down", "never"] = Field(
        "both",
        description="where the price has left the range by a cell, the grid starts anew around it: both, up, "
        "down or never",
    )

    @property
    def spacing_in_force(self) -> Decimal:
        """The spacing to keep with a grid that starts."""
        return self.spacing

    @property
    def spacing(self) -> Decimal:
        """The spacing in force; that of usual volatility before one is known."""
        return self.spacing_pct or self._by_volatility(USUAL_VOLATILITY)

    def _by_volatility(self, volatility: Decimal) -> Decimal:
        wanted = Decimal("0.025") + (volatility - USUAL_VOLATILITY) / 10
        return min(max(wanted.quantize(_STEP), self.min_spacing_pct), self.max_spacing_pct)

    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """Level i is first_price·(1 + spacing)^i. Index 0 is the centre; half of the cells are below it."""
        return [
            first_price * (1 + self.spacing) ** (self.start_index(first_price) + number)
            for number in range(self.cells + 1)
        ]

    def start_index(self, first_price: Decimal) -> int:  # noqa: ARG002
        """Index of the lowest level."""
        return -(self.cells // 2)

    def geometry(self) -> Mapping[str, str | None]:
        """The spacing. The centre is the first price, which the id of an anchored grid names too."""
        return {"spacing_pct": None if self.spacing_pct is None else plain(self.spacing_pct)}

    @property
    def is_relative(self) -> bool:
        """The levels are around the first price."""
        return True

    @property
    def is_anchored(self) -> bool:
        """Each centre has an id of its own."""
        return True

    @property
    def needs_volatility(self) -> bool:
        """Whether the spacing depends on it."""
        return self.spacing_pct is None

    def spaced(self, spacing: Decimal | None) -> Self:
        """The settings with this spacing."""
        return self if spacing is None else self.model_copy(update={"spacing_pct": spacing})

    def fitted(self, volatility: Decimal | None) -> Self:
        """The settings with the spacing for this volatility."""
        if self.spacing_pct is not None:
            return self
        return self.spaced(self._by_volatility(USUAL_VOLATILITY if volatility is None else volatility))

    @property
    def narrowest(self) -> Self:
        """The settings with the smallest spacing that volatility may give."""
        return self.spaced(self.spacing_pct or self.min_spacing_pct)

    def recentres(self, *, up: bool) -> bool:
        """Whether the grid starts anew around a price above (`up`) or below the range."""
        return self.recentre in ("both", "up" if up else "down")

    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """The smallest spacing is not above the largest."""
        if not is_valid("min_spacing_pct", "max_spacing_pct") or self.min_spacing_pct <= self.max_spacing_pct:
            return []
        rule = f"must not be below min_spacing_pct ({plain(self.min_spacing_pct)})"
        return [Problem(f"{field}.max_spacing_pct", plain(self.max_spacing_pct), rule, "Swap them")]

    def range_text(self) -> str:
        """`20 cells around the price, 1 to 4 % apart`."""
        if self.spacing_pct is not None:
            return f"{self.cells} cells around the price, {plain(self.spacing_pct * 100)} % apart"
        least, most = plain(self.min_spacing_pct * 100), plain(self.max_spacing_pct * 100)
        return f"{self.cells} cells around the price, {least} to {most} % apart"


class AdaptiveSettings(AdaptiveGrid, OneGrid):
    """A symbol with an adaptive grid."""
