"""A symbol's stops, limits and guards. Pure."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from tasks.base.errors import Problem
from tasks.base.money import MAX_QUOTE
from tasks.settings.section import NOT_SET, IsValid, Price, Section, Share

_Amount = Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)]

_IN_ORDER = (
    ("stop_loss_price", "take_profit_price"),
    ("min_position_pct", "max_position_pct"),
    ("pause_below", "pause_above"),
    ("pause_from", "pause_until"),
)


class RiskSettings(Section):
    """When a symbol stops, sells only, buys only, or waits. A stop that fired holds until an operator resumes."""

    stop_loss_price: Price | None = Field(
        None, description="stop when the price is at or below this, quote per base, above 0", examples=["37000"]
    )
    take_profit_price: Price | None = Field(
        None, description="stop when the price is at or above this, quote per base, above 0", examples=["52000"]
    )
    stop_loss_quote: _Amount | None = Field(
        None, description="stop when the symbol has lost this much, in quote, above 0 to 90000000", examples=["200"]
    )
    take_profit_quote: _Amount | None = Field(
        None, description="stop when the symbol has earned this much, in quote, above 0 to 90000000", examples=["500"]
    )
    profit_drawdown_pct: Share | None = Field(
        None,
        description="stop when the symbol has given back this share of its best profit, above 0 to 1",
        examples=["0.3"],
    )
    stop_exit: Literal["sell", "keep"] = Field(
        "sell", description="what a stop does with what is held: sell (at the market) or keep; it cancels all orders"
    )
    stop_slippage: Annotated[Decimal, Field(gt=0, le=Decimal("0.2"))] = Field(
        Decimal("0.001"),
        description="how far below the best bid a sale after a stop may be, as a share, above 0 to 0.2; what is "
        "left is offered again at the next tick",
    )
    max_position_pct: Share | None = Field(
        None,
        description="above this share of the symbol's money in base, the symbol only sells, above 0 to 1",
        examples=["0.8"],
    )
    min_position_pct: Share | None = Field(
        None,
        description="below this share of the symbol's money in base, the symbol only buys, above 0 to 1",
        examples=["0.1"],
    )
    max_spread_pct: Share | None = Field(
        None, description="no buys while ask and bid differ by more than this share, above 0 to 1", examples=["0.005"]
    )
    max_price_jump_pct: Share | None = Field(
        None,
        description="no buys and no stop on a price that differs from the last tick's by more than this share, until "
        "the next tick confirms it, above 0 to 1",
        examples=["0.05"],
    )
    pause_below: Price | None = Field(
        None, description="no buys while the price is below this, quote per base, above 0", examples=["38000"]
    )
    pause_above: Price | None = Field(
        None, description="no buys while the price is above this, quote per base, above 0", examples=["49000"]
    )
    pause_from: AwareDatetime | None = Field(
        None, description="no buys from this time, with its zone", examples=["2027-01-28T18:00:00Z"]
    )
    pause_until: AwareDatetime | None = Field(
        None, description="end of the pause that pause_from begins, with its zone", examples=["2027-01-29T02:00:00Z"]
    )

    def risk_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """Pairs of fields that are not in order. `field`: the symbol's place, as the file writes it."""
        found = []
        for low, high in _IN_ORDER:
            first, second = getattr(self, low), getattr(self, high)
            if is_valid(low, high) and first is not None and second is not None and first >= second:
                rule = f"must be above {low} ({_text(first)})"
                found.append(Problem(f"{field}.{high}", _text(second), rule, f"Raise it or lower {low}"))
        times = {"pause_from": self.pause_from, "pause_until": self.pause_until}
        for one, other in (("pause_from", "pause_until"), ("pause_until", "pause_from")):
            if is_valid(one, other) and times[one] is not None and times[other] is None:
                found.append(Problem(f"{field}.{other}", NOT_SET, f"{one} needs it", f"Set {other} as well"))
        return found


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
