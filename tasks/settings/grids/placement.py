"""Which levels of a grid have orders, and when. Pure."""

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, Field

from tasks.base.errors import Problem
from tasks.settings.section import IsValid, Price, Section, Share


class PlacementSettings(Section):
    """When a grid starts and ends, and how many of its levels have orders at once."""

    activation_pct: Share | None = Field(
        None,
        description="only levels within this share of the price have orders and reserve money, above 0 to 1; "
        "absent: all levels",
        examples=["0.05"],
    )
    max_open_orders: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="open orders that the symbol may have, 1 to 1000, nearest levels first; absent: what the "
        "exchange allows",
        examples=[40],
    )
    trigger_price: Price | None = Field(
        None,
        description="the grid buys nothing until the price has reached this, quote per base, above 0",
        examples=["42000"],
    )
    start_at: AwareDatetime | None = Field(
        None, description="the grid buys nothing before this time, with its zone", examples=["2027-01-01T00:00:00Z"]
    )
    end_at: AwareDatetime | None = Field(
        None,
        description="at this time, with its zone, the grid ends as a stop does (stop_exit)",
        examples=["2027-02-01T00:00:00Z"],
    )

    def placement_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """`start_at` is before `end_at`. `field`: the symbol's place, as the file writes it."""
        if not is_valid("start_at", "end_at") or self.start_at is None or self.end_at is None:
            return []
        if self.start_at < self.end_at:
            return []
        rule = f"must be after start_at ({self.start_at.isoformat()})"
        return [Problem(f"{field}.end_at", self.end_at.isoformat(), rule, "Choose a later time")]


def is_active(level: Decimal, price: Decimal, share: Decimal | None, *, has_order: bool) -> bool:
    """Whether a level may have an order. One that has an order keeps it until it is a quarter farther away.

    Without that margin, a price that moves to and fro would place and cancel the same order for ever.
    """
    if share is None:
        return True
    return abs(level - price) <= price * share * (Decimal("1.25") if has_order else 1)
