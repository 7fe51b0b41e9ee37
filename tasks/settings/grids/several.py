"""A symbol with several grids, each in a table of its own: `[symbols."BTC/USDT".grids.NAME]`. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from tasks.base.errors import Problem
from tasks.settings.grids.adaptive import AdaptiveGrid
from tasks.settings.grids.arithmetic import ArithmeticGrid
from tasks.settings.grids.common import GridSettings, SymbolSettings, Weight
from tasks.settings.grids.geometric import GeometricGrid
from tasks.settings.grids.infinity import InfinityGrid
from tasks.settings.text_rules import matches

DEFAULT_KIND = "arithmetic"  # of a table without `grid`
SEVERAL = "several"
MOST_GRIDS = 20


def with_default_kind(value: Any) -> Any:
    """A table without `grid` is of the usual kind."""
    return {"grid": DEFAULT_KIND} | value if isinstance(value, dict) else value


class OneOfSeveral(GridSettings):
    """One grid of several. A class below for each kind."""

    weight: Weight = Field(Decimal(1), description="share of the symbol's allocation among its grids, 0 to 1000")


class ArithmeticTable(ArithmeticGrid, OneOfSeveral):
    """An arithmetic grid of several."""


class GeometricTable(GeometricGrid, OneOfSeveral):
    """A geometric grid of several."""


class AdaptiveTable(AdaptiveGrid, OneOfSeveral):
    """An adaptive grid of several."""


class InfinityTable(InfinityGrid, OneOfSeveral):
    """An infinity grid of several."""


_AnyGrid: TypeAlias = ArithmeticTable | GeometricTable | AdaptiveTable | InfinityTable
GRIDS: dict[str, type[OneOfSeveral]] = {kind.model_fields["grid"].default: kind for kind in get_args(_AnyGrid)}
GridTable = Annotated[_AnyGrid, Field(discriminator="grid"), BeforeValidator(with_default_kind)]
GridName = Annotated[str, matches(r"[a-z0-9][a-z0-9_-]{0,15}", "must be 1 to 16 of a-z, 0-9, _ and -")]


class SeveralSettings(SymbolSettings):
    """A symbol with several grids. They share its lease, its allocation, its stops, limits and guards."""

    grid: Literal["several"] = "several"
    grids: dict[GridName, GridTable] = Field(default_factory=dict, description="the symbol's grids by name, 1 to 20")

    @property
    def each_grid(self) -> Mapping[str, GridSettings]:
        """The grids by name, in the order of the file."""
        return self.grids

    def part_of(self, name: str) -> Decimal:
        """By weight."""
        return self.grids[name].weight / sum((grid.weight for grid in self.grids.values()), Decimal(0))

    def grids_problems(self, field: str) -> list[Problem]:
        """There are 1 to 20 grids, and at least one has a weight."""
        if not 1 <= len(self.grids) <= MOST_GRIDS:
            rule, remedy = f"must hold 1 to {MOST_GRIDS} grids", f"Write a table for each: [{field}.grids.NAME]"
            return [Problem(f"{field}.grids", f"({len(self.grids)} grids)", rule, remedy)]
        if any(grid.weight > 0 for grid in self.grids.values()):
            return []
        rule = "the grids share the symbol's allocation by weight, and none has one"
        return [Problem(f"{field}.grids", f"({len(self.grids)} grids)", rule, "Give one of them a weight above 0")]
