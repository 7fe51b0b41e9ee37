"""What all kinds of grids share: the fields of a symbol, and the methods that each kind must have. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tasks.base.errors import Problem
from tasks.base.money import MAX_QUOTE, exact
from tasks.settings.grids.placement import PlacementSettings
from tasks.settings.grids.risk import RiskSettings
from tasks.settings.section import IsValid, Section, Share


class StartMode(StrEnum):
    """`flat` buys nothing at once; `balanced` first buys the base for the cells above the price."""

    FLAT = "flat"
    BALANCED = "balanced"


class GridKind(Section, ABC):
    """Where the levels of a grid are. Each kind of grid implements all abstract methods."""

    grid: str = Field(description="level spacing")

    @abstractmethod
    def raw_levels(self, first_price: Decimal) -> list[Decimal]:
        """The N+1 levels of N cells in quote per base, lowest first, before rounding to the tick size.

        `first_price`: quote per base, the price at which the grid starts.
        """

    @abstractmethod
    def geometry(self) -> Mapping[str, str | None]:
        """The kind's own fields that decide where the levels are, by name, as text. They go into the grid's id.

        The id of a grid names its orders on the exchange: the result for given settings must never change.
        """

    @property
    @abstractmethod
    def is_relative(self) -> bool:
        """Whether the levels are the first price times fixed factors: raw_levels(p) = p × raw_levels(1)."""

    @abstractmethod
    def level_problems(self, field: str, is_valid: IsValid) -> list[Problem]:
        """What is wrong between the kind's own fields. `field`: the symbol's place, as the file writes it."""

    @abstractmethod
    def range_text(self) -> str:
        """From where to where the grid reaches, in words for a table."""


class _CommonSettings(GridKind):
    """Cells, their size, and the symbol's part of the pot."""

    cells: Annotated[int, Field(ge=1, le=500)] = Field(20, description="number of cells between levels, 1 to 500")
    quote_per_cell: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None,
        description="quote spent per cell, above 0 to 90000000; absent: the symbol's allocation divided by its cells",
        examples=["150"],
    )
    base_per_cell: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="base bought per cell, above 0; instead of quote_per_cell", examples=["0.003"]
    )
    start: StartMode = Field(
        StartMode.FLAT,
        description="flat buys nothing at once; balanced first buys the base for the cells above the price",
    )
    max_usage_pct: Share = Field(Decimal(1), description="cap: share of total_funds, above 0 to 1")
    weight: Annotated[Decimal, Field(ge=0, le=1000)] = Field(
        Decimal(1), description="share under the weighted strategy, 0 to 1000"
    )


class SymbolSettings(RiskSettings, PlacementSettings, _CommonSettings):
    """One symbol's grid, size, limits and stops. Each kind of grid is a subclass, so it cannot be used alone."""


def net_profit(buy: Decimal, sell: Decimal, buy_fee: Decimal, sell_fee: Decimal) -> Decimal:
    """Profit of one round trip as a share of what the buy cost: (1−c_buy)(1−c_sell)·sell/buy − 1."""
    with exact():
        return (1 - buy_fee) * (1 - sell_fee) * sell / buy - 1
