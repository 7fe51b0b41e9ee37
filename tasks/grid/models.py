"""Grids and cells. Prices in quote per base, amounts in base, costs in quote."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from tasks.base.errors import RejectReason
from tasks.base.money import ZERO, units_up
from tasks.base.remembering import by_identity
from tasks.exchange.models import Frozen, NotNegative, Positive
from tasks.exchange.order_ids import cell_key


class CellState(StrEnum):
    """IDLE (wants a buy) → BUYING → HOLDING (wants a sell) → SELLING → IDLE, one cycle later."""

    IDLE = "IDLE"
    BUYING = "BUYING"
    HOLDING = "HOLDING"
    SELLING = "SELLING"


class Size(Frozen):
    """What a cell buys: an amount of quote or an amount of base; exactly one is set."""

    quote: Positive | None = None
    base: Positive | None = None

    @classmethod
    def of_quote(cls, amount: Decimal) -> "Size | None":
        """A size of `amount` quote; None where that is not above 0."""
        return cls(quote=amount) if amount > 0 else None

    def weighted(self, weight: Decimal) -> "Size":
        """The size of a cell with this weight, where this one is that of weight 1."""
        if weight == 1:
            return self
        return Size(
            quote=None if self.quote is None else self.quote * weight,
            base=None if self.base is None else self.base * weight,
        )

    def qty(self, price: Decimal) -> Decimal:
        """Base amount at `price`, before the lot step."""
        if self.base is not None:
            return self.base
        assert self.quote is not None
        return self.quote / price


class Grid(Frozen):
    """A grid in force: N cells between N+1 levels (lowest first, rounded to the tick).

    Where a symbol has several grids, the first carries the `others`. What is said of cells, such as `has`, is of all of
    them; levels, indices and prices are of this one alone.

    Cell i lies between the levels with index i and i + 1. Where a range follows the price, the indices go on beyond
    its ends: `first_index` is that of the lowest level now, and `covered` has the lowest and the highest index of all
    cells that the grid has ever had.

    Geometry only: what a cell buys is read from the settings in force at every tick. Where the exchange changes the
    tick size, the levels are rounded again, and the grid keeps its id.
    """

    grid_id: str
    symbol: str
    levels: tuple[Positive, ...]
    first_price: Positive
    created_ms: int
    tick_size: Positive | None = None  # that the levels are rounded to; None: written by an earlier version
    slack: NotNegative = ZERO  # how far orders placed before a change of the tick size may be from their levels
    first_index: int = 0
    covered: tuple[int, int] | None = None  # None: the range never moved
    spacing: Positive | None = None  # of neighbouring levels as a share, where volatility decided it
    name: str = ""  # of one of several grids
    others: tuple["Grid", ...] = ()  # the symbol's other grids; they carry none themselves

    @property
    def each(self) -> tuple["Grid", ...]:
        """All grids of the symbol, this one first."""
        return (self, *self.others)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all grids of the symbol."""
        return frozenset(grid.grid_id for grid in self.each)

    def by_id(self, grid_id: str) -> "Grid | None":
        """The grid of the symbol with this id; None where it has none."""
        if grid_id == self.grid_id:
            return self
        return next((grid for grid in self.others if grid.grid_id == grid_id), None)

    def with_others(self, others: Sequence["Grid"]) -> "Grid":
        """The grid as the first of several; none of the `others` carries others."""
        return self if tuple(others) == self.others else self.model_copy(update={"others": tuple(others)})

    @property
    def indices(self) -> range:
        """Indices of the cells."""
        return range(self.first_index, self.first_index + len(self.levels) - 1)

    def ends_of(self, index: int) -> tuple[Decimal, Decimal] | None:
        """Lower and upper level of the cell with this index; None where the range does not reach it now."""
        number, levels = index - self.first_index, self.levels
        return (levels[number], levels[number + 1]) if 0 <= number < len(levels) - 1 else None

    def ends(self, cell: "Cell") -> tuple[Decimal, Decimal] | None:
        """Lower and upper level of the cell; None for a cell of another grid or range."""
        own = self if cell.grid_id == self.grid_id else self.by_id(cell.grid_id)
        return own.ends_of(cell.index) if own else None

    @property
    def ends_by_key(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        """Lower and upper level of each cell in the ranges of all grids of the symbol, by its key."""
        return _ends_by_key(self)

    @property
    def beyond(self) -> tuple[Decimal, Decimal]:
        """The prices that are one cell below and one cell above the range."""
        low, high = self.levels[:2], self.levels[-2:]
        return low[0] * 2 - low[1], high[1] * 2 - high[0]

    @property
    def top_index(self) -> int:
        """The highest index that the range has ever reached."""
        return max(self.indices[-1], self.covered[1] if self.covered else self.indices[-1])

    @property
    def own_keys(self) -> frozenset[str]:
        """The keys of the cells in the range of this grid as it is now."""
        return _cell_keys(self.grid_id, self.first_index, len(self.levels) - 1)

    @property
    def cell_keys(self) -> frozenset[str]:
        """The keys of the cells in the ranges of all grids of the symbol."""
        return self.own_keys.union(*[grid.own_keys for grid in self.others]) if self.others else self.own_keys

    def has(self, cell: "Cell") -> bool:
        """Whether the cell belongs to the range as it is now. Others only sell what they hold."""
        return cell.key in self.cell_keys

    @property
    def cells(self) -> int:
        """How many cells all grids of the symbol have."""
        return len(self.levels) - 1 + sum([grid.cells for grid in self.others])

    @property
    def all_levels(self) -> tuple[Decimal, ...]:
        """The levels of all grids of the symbol, lowest first, each once."""
        return tuple(sorted({level for grid in self.each for level in grid.levels})) if self.others else self.levels

    def contains(self, price: Decimal) -> bool:
        """Whether the price is in the range of one of the symbol's grids."""
        return self.levels[0] <= price <= self.levels[-1] or any(grid.contains(price) for grid in self.others)

    def has_had(self, index: int) -> bool:
        """Whether the range has ever reached the cell with this index."""
        lowest, highest = self.covered or (self.indices[0], self.indices[-1])
        return lowest <= index <= highest


@lru_cache(maxsize=1024)  # every tick looks for its cells
def _cell_keys(grid_id: str, first_index: int, count: int) -> frozenset[str]:
    return frozenset(cell_key(grid_id, first_index + number) for number in range(count))


@by_identity
def _ends_by_key(grid: Grid) -> Mapping[str, tuple[Decimal, Decimal]]:
    return {
        cell_key(each.grid_id, index): ends
        for each in grid.each
        for index, ends in zip(each.indices, pairwise(each.levels), strict=True)
    }


class Cell(Frozen):
    """One cell. `qty` base held (dust included), `basis` what it cost, fees included.

    `earned`: the part of `qty` that cost nothing: what earlier rounds kept of their base, where the grid earns in base.
    `cycle` numbers the orders of each side: no (cell, side, cycle) is ever used twice.
    """

    key: str
    grid_id: str
    index: int
    buy_price: Positive
    sell_price: Positive
    state: CellState = CellState.IDLE
    cycle: int = 0
    rounds: int = 0
    qty: NotNegative = ZERO
    basis: Decimal = ZERO
    earned: NotNegative = ZERO
    profit: Decimal = ZERO
    order_id: str | None = None
    entry: bool = False  # balanced start: buy at the market once
    retry_ms: int = 0  # after a rejection: not before this time
    refusals: int = 0  # by the exchange, in a row
    refusal: RejectReason | None = None  # why it refused the last order; None once it accepted one

    @property
    def lot(self) -> Decimal:
        """The part of `qty` that has a cost: what the cell wants to sell."""
        return self.qty - self.earned

    @property
    def lacks_base(self) -> bool:
        """Whether the exchange refused to sell what the cell holds, because too little of the base was free."""
        return self.state is CellState.HOLDING and self.refusal is RejectReason.INSUFFICIENT_FUNDS

    @property
    def used_units(self) -> int:
        """The cell's inventory cost as the pot counts it (units of 1e-8 quote)."""
        return units_up(self.basis)
