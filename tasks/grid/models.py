"""Grid, cells and plans. Prices in quote per base, amounts in base, costs in quote."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from tasks.base.errors import RejectReason
from tasks.base.money import ZERO, units_up
from tasks.exchange.models import Frozen, NotNegative, Positive, Side
from tasks.exchange.order_ids import Purpose, cell_key
from tasks.settings.grids.common import ONE, CellWeights

MARKET_SLIPPAGE = Decimal("0.001")  # an order at the market may be this share worse than the best price


class CellState(StrEnum):
    """IDLE (wants a buy) → BUYING → HOLDING (wants a sell) → SELLING → IDLE, one cycle later."""

    IDLE = "IDLE"
    BUYING = "BUYING"
    HOLDING = "HOLDING"
    SELLING = "SELLING"


class IdleReason(StrEnum):
    """Why a cell has no order."""

    ABOVE_PRICE = "ABOVE_PRICE"  # its buy price is not below the best ask: the buy would fill at once
    SYMBOL_LIMIT = "SYMBOL_LIMIT"  # the symbol's allocation is used up
    GRID_LIMIT = "GRID_LIMIT"  # its grid's part of the symbol's allocation is used up
    GLOBAL_LIMIT = "GLOBAL_LIMIT"  # the pool is used up, or the exchange holds less than promised
    PAUSED = "PAUSED"  # an operator paused new buys
    STALE_PRICE = "STALE_PRICE"  # the newest price is too old to buy on
    STOPPED = "STOPPED"  # a stop is in force: nothing is placed
    BELOW_MINIMUM = "BELOW_MINIMUM"  # the order would be below the exchange's minimum
    ABOVE_MAXIMUM = "ABOVE_MAXIMUM"  # the order would be above the exchange's maximum
    TOO_FAR = "TOO_FAR"  # the exchange refuses orders so far from the market's price
    MAX_ORDERS = "MAX_ORDERS"  # the exchange allows no more open orders; nearer levels have them
    RATE_LIMITED = "RATE_LIMITED"  # orders wait for the rate limit: this one is planned again at the next tick
    REJECTED = "REJECTED"  # the exchange refused the last order; the cell waits before the next one
    NO_BASE = "NO_BASE"  # too little of the base is free on the exchange to sell what the cell holds
    GRID_UNFIT = "GRID_UNFIT"  # the exchange's present filters or fees do not allow the grid: it only sells
    OUT_OF_REACH = "OUT_OF_REACH"  # farther from the price than activation_pct
    NOT_STARTED = "NOT_STARTED"  # its trigger price or start time has not come
    PAUSED_BY_RULE = "PAUSED_BY_RULE"  # the price or the time is in a range in which the settings pause buys
    POSITION_LIMIT = "POSITION_LIMIT"  # too much of the symbol's money is in base to buy, or too little to sell
    PRICE_JUMP = "PRICE_JUMP"  # the price jumped, and no second tick has confirmed it
    WIDE_SPREAD = "WIDE_SPREAD"  # ask and bid are too far apart to buy
    STOP_FIRED = "STOP_FIRED"  # one of the symbol's stops has fired: it buys nothing until an operator resumes
    RESERVE = "RESERVE"  # holds the base of the levels above the range, until the range moves up
    RETIRED = "RETIRED"  # of an earlier grid or range, or of a symbol that left the settings: it no longer buys


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
    def cell_keys(self) -> frozenset[str]:
        """The keys of the cells in the range as it is now."""
        own = _cell_keys(self.grid_id, self.first_index, len(self.levels) - 1)
        return own.union(*(grid.cell_keys for grid in self.others)) if self.others else own

    def has(self, cell: "Cell") -> bool:
        """Whether the cell belongs to the range as it is now. Others only sell what they hold."""
        return cell.key in self.cell_keys

    @property
    def cells(self) -> int:
        """How many cells all grids of the symbol have."""
        return sum(len(grid.levels) - 1 for grid in self.each)

    @property
    def all_levels(self) -> tuple[Decimal, ...]:
        """The levels of all grids of the symbol, lowest first, each once."""
        return tuple(sorted({level for grid in self.each for level in grid.levels})) if self.others else self.levels

    def contains(self, price: Decimal) -> bool:
        """Whether the price is in the range of one of the symbol's grids."""
        return any(grid.levels[0] <= price <= grid.levels[-1] for grid in self.each)

    def has_had(self, index: int) -> bool:
        """Whether the range has ever reached the cell with this index."""
        lowest, highest = self.covered or (self.indices[0], self.indices[-1])
        return lowest <= index <= highest


@lru_cache(maxsize=1024)  # every tick looks for its cells
def _cell_keys(grid_id: str, first_index: int, count: int) -> frozenset[str]:
    return frozenset(cell_key(grid_id, first_index + number) for number in range(count))


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


class RestingBuy(NamedTuple):
    """A buy that rests on the exchange: `qty` base, `filled` of it; `units` of quote (1e-8) still reserved for it."""

    qty: Decimal
    units: int
    filled: Decimal = ZERO
    fixed: bool = False  # partly filled, or sent to fill at once: never resized, cancelled only for want of money


class GridLimits(Frozen):
    """What one grid may do, and the size of its cells."""

    share: Decimal = ONE  # of the symbol's allocation
    size: Size | None = None  # configured, of a cell with weight 1; None: follows the allocation
    weights: CellWeights | None = None  # relative sizes of the cells; None: all are equal
    keeps_reserve: bool = False  # the highest cell holds base for levels above the range: it has no order of its own
    unfit: bool = False  # the exchange's present filters or fees do not allow the grid: no buys
    earns_base: bool = False  # a sell only brings back the cost of its lot; the rest is kept


class Limits(GridLimits):
    """What the pot would grant now, the size of cells, and the operator's flags. Money in units of 1e-8 quote.

    `allocated`, `used` and `committed` are the symbol's; where `committed` is above `allocated`, buys shrink. What it
    says of one grid is of the symbol's first, and of cells that belong to none; `others` has the rest by grid id.
    """

    others: Mapping[str, GridLimits] = Field(default_factory=dict)

    symbol_free: int
    global_free: int
    allocated: int = 0
    used: int = 0
    committed: int = 0
    resize_tolerance: Decimal = Decimal("0.1")
    paused: bool = False
    stopped: bool = False
    retiring: bool = False  # the symbol left the settings: no buys, what it holds is sold
    liquidate: bool = False  # what the symbol holds is sold at the market's price; it is retiring, paused or stopped
    stale: bool = False  # the price is too old to buy on
    free_base: Decimal | None = None  # base that is free on the exchange; None where it was not read
    refused: Mapping[str, str] = Field(default_factory=dict)  # cell key → reason of the last refusal
    other_orders: int = 0  # open orders of the account in the symbol that belong to no cell
    now_ms: int = 0
    stop_fired: bool = False  # no buys; what is held is sold where `liquidate`, else kept; all orders are cancelled
    exit_slippage: Decimal = MARKET_SLIPPAGE  # a sale at the market may be this share below the best bid
    no_buys: IdleReason | None = None  # why a limit or guard allows none
    no_sells: IdleReason | None = None
    cancel_buys: bool = False  # resting buys are cancelled, too
    activation: Decimal | None = None  # share of the price within which levels have orders; None: all levels
    max_open_orders: int | None = None  # that the settings allow

    def of(self, grid_id: str) -> GridLimits:
        """What the grid with this id may do."""
        return self.others.get(grid_id, self)

    @property
    def over(self) -> int:
        """Units committed beyond the allocation; 0 within it."""
        return max(self.committed - self.allocated, 0)


class PlannedOrder(Frozen):
    """An order that should exist; `units` is the quote to reserve (0 for a sell)."""

    client_id: str
    cell_key: str
    purpose: Purpose
    price: Positive
    qty: Positive
    cycle: int
    units: int
    post_only: bool

    @property
    def side(self) -> Side:
        """The side of the order."""
        return self.purpose.side


class GridPlan(Frozen):
    """Client ids to cancel, orders to place, and why every other cell without an order has none.

    `resized`: those of `cancel` whose cell buys again with another amount. `to_resize`: how many more wait.
    """

    cancel: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    to_resize: int = 0
    place: tuple[PlannedOrder, ...] = ()
    idle_reasons: Mapping[str, IdleReason] = Field(default_factory=dict)


NO_PLAN = GridPlan()
