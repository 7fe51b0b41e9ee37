"""What all kinds of grids share: the fields of a symbol, and the methods that each kind must have. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, NamedTuple, Self

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


class Earn(StrEnum):
    """What a round earns: `quote` sells all of a lot; `base` sells what brings back its cost and keeps the rest."""

    QUOTE = "quote"
    BASE = "base"


class TrailLimits(NamedTuple):
    """How far a range may follow the price: upper end up to `up`, lower end down to `down`; None: not at all."""

    up: Decimal | None = None
    down: Decimal | None = None


NO_TRAIL = TrailLimits()


class CellWeights(NamedTuple):
    """How large the cells of a grid are, relative to each other.

    each: of the cells in the range, lowest first; empty where all are 1. total: of all cells that share the symbol's
    allocation. entries: of cells that buy at the first price, at a balanced start; empty where they are as `each`.
    """

    each: tuple[Decimal, ...]
    total: Decimal
    entries: tuple[Decimal, ...] = ()

    def of(self, number: int, *, entry: bool = False) -> Decimal:
        """Of the cell with this number in the range, from 0; 1 for others. `entry`: it buys at the first price."""
        own = self.entries if entry and self.entries else self.each
        return own[number] if 0 <= number < len(own) else ONE


ONE = Decimal(1)
ONLY = ""  # the name of a symbol's only grid


class GridKind(Section, ABC):
    """Where the levels of a grid are. Each kind of grid implements all abstract methods.

    A kind whose range moves, or whose spacing depends on volatility, overrides the others as well.
    """

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

    def start_index(self, first_price: Decimal) -> int:  # noqa: ARG002
        """Index of the lowest level when the grid starts at this price."""
        return 0

    @property
    def is_anchored(self) -> bool:
        """Whether the first price is part of the grid's id: around another price, it is another grid."""
        return False

    @property
    def trail_limits(self) -> TrailLimits:
        """How far the range follows the price by whole cells. A kind that does so has levels beyond its range."""
        return NO_TRAIL

    @property
    def room(self) -> int:
        """How many cells stay on either side of the price where the range follows it; 0: it moves once it is left."""
        return 0

    @property
    def reserve_share(self) -> Decimal | None:
        """Of a kind whose highest cell holds base for levels above the range: the part that is the lowest level's."""
        return None

    def level_at(self, first_price: Decimal, index: int) -> Decimal:
        """The level with this index in quote per base. Raises IndexError where the kind has none."""
        number = index - self.start_index(first_price)
        if number < 0:
            raise IndexError(index)
        return self.raw_levels(first_price)[number]

    @property
    def needs_volatility(self) -> bool:
        """Whether a new grid needs the symbol's volatility."""
        return False

    def fitted(self, volatility: Decimal | None) -> Self:  # noqa: ARG002
        """The settings of a grid that starts at this volatility (annualised; None: not known)."""
        return self

    def spaced(self, spacing: Decimal | None) -> Self:  # noqa: ARG002
        """The settings of a grid in force with this spacing (a share; None: the kind has none)."""
        return self

    @property
    def spacing_in_force(self) -> Decimal | None:
        """The spacing to keep with a grid that starts; None where the settings alone say where the levels are."""
        return None

    @property
    def narrowest(self) -> Self:
        """The settings with the narrowest cells that the grid may ever have."""
        return self

    def recentres(self, *, up: bool) -> bool:  # noqa: ARG002
        """Whether the grid starts anew around a price that has left its range upwards (`up`) or downwards."""
        return False


Weight = Annotated[Decimal, Field(ge=0, le=1000)]


class GridSettings(GridKind):
    """One grid: where its levels are, its cells and their size. Each kind of grid is a subclass."""

    cells: Annotated[int, Field(ge=1, le=500)] = Field(20, description="number of cells between levels, 1 to 500")
    quote_per_cell: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None,
        description="quote spent per cell, above 0 to 90000000; absent: the symbol's allocation divided by its cells",
        examples=["150"],
    )
    base_per_cell: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="base bought per cell, above 0; instead of quote_per_cell", examples=["0.003"]
    )
    size_factor: Annotated[Decimal, Field(ge=Decimal("0.5"), le=2)] = Field(
        ONE,
        description="size of a cell ÷ size of the cell above it, 0.5 to 2; above 1, lower cells buy more. "
        "quote_per_cell and base_per_cell are the size of the highest cell",
    )
    start: StartMode = Field(
        StartMode.FLAT,
        description="flat buys nothing at once; balanced first buys the base for the cells above the price",
    )
    earn: Earn = Field(
        Earn.QUOTE,
        description="quote sells all that a cell has bought; base sells what brings back its cost and keeps the rest",
    )

    def cell_weights(self, first_price: Decimal) -> CellWeights:  # noqa: ARG002
        """Relative sizes: the highest cell is 1, each one below it `size_factor` times as large.

        `first_price`: quote per base, at which the grid started.
        """
        return _weights(self.size_factor, self.cells)


@lru_cache(maxsize=256)  # every tick sizes all cells
def _weights(factor: Decimal, cells: int) -> CellWeights:
    if factor == ONE:
        return CellWeights((), Decimal(cells))
    with exact():
        each = [ONE]
        for _ in range(cells - 1):
            each.append(round(each[-1] * factor, 12))
        return CellWeights(tuple(reversed(each)), sum(each, Decimal(0)))


class _PotShare(Section):
    """The symbol's part of the pot."""

    max_usage_pct: Share = Field(Decimal(1), description="cap: share of total_funds, above 0 to 1")
    weight: Weight = Field(Decimal(1), description="share under the weighted strategy, 0 to 1000")


class SymbolSettings(RiskSettings, PlacementSettings, _PotShare, ABC):
    """One symbol: its part of the pot, its stops, limits and guards, and its grids."""

    @property
    @abstractmethod
    def each_grid(self) -> Mapping[str, GridSettings]:
        """The symbol's grids by name. The only grid of a symbol has the name ""."""

    @property
    def cell_count(self) -> int:
        """How many cells all grids of the symbol have."""
        return sum(grid.cells for grid in self.each_grid.values())

    def part_of(self, name: str) -> Decimal:  # noqa: ARG002 - a symbol with several grids looks at it
        """The part of the symbol's allocation that its grid `name` gets, 0 to 1."""
        return ONE


class OneGrid(SymbolSettings, GridSettings):
    """A symbol with one grid, whose fields stand in the symbol's own table."""

    @property
    def each_grid(self) -> Mapping[str, GridSettings]:
        """The symbol itself is its grid."""
        return {ONLY: self}


def net_profit(buy: Decimal, sell: Decimal, buy_fee: Decimal, sell_fee: Decimal) -> Decimal:
    """Profit of one round trip as a share of what the buy cost: (1−c_buy)(1−c_sell)·sell/buy − 1."""
    with exact():
        return (1 - buy_fee) * (1 - sell_fee) * sell / buy - 1
