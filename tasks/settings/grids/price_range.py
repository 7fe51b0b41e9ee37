"""The range of a grid between two prices: fixed, or relative to the first price. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.settings.grids.common import GridKind
from tasks.settings.section import NOT_SET, IsValid, Price

LOWER: Any = Field(None, description="lowest level, quote per base, above 0", examples=["39000"])


class PriceRange(GridKind):
    """A grid from `lower` to `upper`, or from 1 − `range_pct` to 1 + `range_pct` times the first price.

    A kind of grid names it after SymbolSettings among its base classes. Its fields then come before the common ones
    in the file of `gridflow init` and in stored settings.
    """

    lower: Price | None = LOWER
    upper: Price | None = Field(
        None, description="highest level, quote per base, above 0 and above lower", examples=["48000"]
    )
    range_pct: Annotated[Decimal, Field(gt=0, lt=1)] | None = Field(
        None,
        description="instead of lower and upper: share on either side of the first price, above 0, below 1",
        examples=["0.04"],
    )

    @property
    def is_relative(self) -> bool:
        """Whether the range is around the first price."""
        return self.range_pct is not None

    def ends(self, first_price: Decimal) -> tuple[Decimal, Decimal]:
        """Lowest and highest level in quote per base; `range_pct` is taken around `first_price`."""
        if self.range_pct is not None:
            return first_price * (1 - self.range_pct), first_price * (1 + self.range_pct)
        assert self.lower is not None
        assert self.upper is not None
        return self.lower, self.upper

    def geometry(self) -> Mapping[str, str | None]:
        """Both ends, or the share around the first price."""
        return {"lower": _text(self.lower), "upper": _text(self.upper), "range_pct": _text(self.range_pct)}

    def range_text(self) -> str:
        """`39000 – 48000`, or `±4 % of the first price`."""
        if self.range_pct is not None:
            return f"±{plain(self.range_pct * 100)} % of the first price"
        return f"{_text(self.lower)} – {_text(self.upper)}"

    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """`lower` and `upper`, in order, or `range_pct`, but not both."""
        if not is_valid("range_pct"):
            return []
        given = [name for name in ("lower", "upper") if is_valid(name) and getattr(self, name) is not None]
        if self.range_pct is not None:
            rule, remedy = "cannot stand beside lower or upper", "Keep range_pct, or lower and upper"
            return [Problem(f"{field}.range_pct", str(self.range_pct), rule, remedy)] if given else []
        missing = [name for name in ("lower", "upper") if is_valid(name) and name not in given]
        if missing:
            remedy = "Give lower and upper, or range_pct"
            return [Problem(f"{field}.{name}", NOT_SET, "a grid needs both ends", remedy) for name in missing]
        return self._order_problems(field) if len(given) == 2 else []

    def _order_problems(self, field: str) -> list[Problem]:
        assert self.lower is not None
        assert self.upper is not None
        if self.lower < self.upper:
            return []
        rule = f"levels out of order: upper must be above lower ({self.lower})"
        return [Problem(f"{field}.upper", str(self.upper), rule, "Swap or widen them")]


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
