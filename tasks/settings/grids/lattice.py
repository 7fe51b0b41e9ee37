"""Ranges that may follow the price: the levels go on below and above the range, on one lattice. Pure."""

from abc import abstractmethod
from decimal import Decimal

from pydantic import Field

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.grids.common import NO_TRAIL, TrailLimits
from tasks.settings.grids.price_range import PriceRange
from tasks.settings.section import IsValid, Price


class TrailingRange(PriceRange):
    """A range of prices that may move by whole cells. Level i of the range has index i; indices go on both ways.

    A cell keeps its index and its prices wherever the range is, so an order id always names the same price.
    """

    trail_up_to: Price | None = Field(
        None,
        description="the range follows a rising price by whole cells, until its upper end reaches this, quote per "
        "base, above 0; absent: it does not",
        examples=["60000"],
    )
    trail_down_to: Price | None = Field(
        None,
        description="the range follows a falling price by whole cells, until its lower end reaches this, quote per "
        "base, above 0; absent: it does not",
        examples=["30000"],
    )

    @abstractmethod
    def level_at(self, first_price: Decimal, index: int) -> Decimal:
        """The level with this index, in quote per base, before rounding to the tick size; 0 or less is no price."""

    @property
    def trail_limits(self) -> TrailLimits:
        """How far the range may move."""
        up, down = self.trail_up_to, self.trail_down_to
        return NO_TRAIL if up is None and down is None else TrailLimits(up, down)

    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """The limits of trailing are outside the range."""
        found = super().level_problems(field, is_valid)
        if found or self.range_pct is not None:
            return found
        bounds = (("trail_up_to", "upper", True), ("trail_down_to", "lower", False))
        for name, end, is_above in bounds:
            limit, bound = getattr(self, name), getattr(self, end)
            if not is_valid(name, end) or limit is None or bound is None:
                continue
            if (limit <= bound) if is_above else (limit >= bound):
                side, remedy = ("above", "Raise") if is_above else ("below", "Lower")
                rule = f"must be {side} {end} ({plain(bound)}): the range has no room to move"
                found.append(Problem(f"{field}.{name}", plain(limit), rule, f"{remedy} it, or leave it out"))
        return found
