"""Grid, cells and plans. Prices in quote per base, amounts in base, costs in quote."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from tasks.base.money import ZERO, units_up
from tasks.exchange.models import Frozen, NotNegative, Positive, Side


class CellState(StrEnum):
    """IDLE (wants a buy) → BUYING → HOLDING (wants a sell) → SELLING → IDLE, one cycle later."""

    IDLE = "IDLE"
    BUYING = "BUYING"
    HOLDING = "HOLDING"
    SELLING = "SELLING"


class IdleReason(StrEnum):
    """Why a cell has no order now."""

    ABOVE_PRICE = "ABOVE_PRICE"  # its buy price is not below the best ask: a resting buy would take
    SYMBOL_LIMIT = "SYMBOL_LIMIT"  # the symbol's allocation is used up
    GLOBAL_LIMIT = "GLOBAL_LIMIT"  # the pool is used up, or the exchange holds less than promised
    PAUSED = "PAUSED"  # an operator paused new buys
    STALE_PRICE = "STALE_PRICE"  # the newest price is too old to buy on
    STOPPED = "STOPPED"  # a stop is in force: nothing is placed
    BELOW_MINIMUM = "BELOW_MINIMUM"  # the order would be below the exchange's minimum
    ABOVE_MAXIMUM = "ABOVE_MAXIMUM"  # the order would be above the exchange's maximum
    TOO_FAR = "TOO_FAR"  # the exchange takes no order so far from the market's price
    REJECTED = "REJECTED"  # the exchange refused the last order; waits before the next try
    RETIRED = "RETIRED"  # belongs to an earlier grid and has nothing left to sell


class Size(Frozen):
    """What a cell buys: an amount of quote or an amount of base; exactly one is set."""

    quote: Positive | None = None
    base: Positive | None = None

    def qty(self, price: Decimal) -> Decimal:
        """Base amount at `price`, before the lot step."""
        if self.base is not None:
            return self.base
        assert self.quote is not None
        return self.quote / price


class Grid(Frozen):
    """A grid in force: N cells between N+1 levels (lowest first, rounded to the tick)."""

    grid_id: str
    symbol: str
    levels: tuple[Positive, ...]
    size: Size
    first_price: Positive
    created_ms: int


class Cell(Frozen):
    """One cell. `qty` base held (dust included), `basis` what it cost, fees included.

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
    profit: Decimal = ZERO
    order_id: str | None = None
    entry: bool = False  # balanced start: buy at the market once
    retry_ms: int = 0  # after a rejection: not before this time
    refusals: int = 0  # by the exchange, in a row

    @property
    def used_units(self) -> int:
        """The cell's inventory cost as the pot counts it (units of 1e-8 quote)."""
        return units_up(self.basis)


class Limits(Frozen):
    """What the pot would grant now, in units of 1e-8 quote, and which cells it refused before."""

    symbol_free: int
    global_free: int
    paused: bool = False
    stopped: bool = False
    stale: bool = False  # the price is too old to buy on
    refused: Mapping[str, str] = Field(default_factory=dict)  # cell key → reason of the last refusal
    now_ms: int = 0


class PlannedOrder(Frozen):
    """An order that should exist; `units` is the quote to reserve (0 for a sell)."""

    client_id: str
    cell_key: str
    side: Side
    price: Positive
    qty: Positive
    cycle: int
    units: int
    post_only: bool


class GridPlan(Frozen):
    """What to cancel (client ids), what to place, and why every other cell without an order has none."""

    cancel: tuple[str, ...] = ()
    place: tuple[PlannedOrder, ...] = ()
    idle_reasons: Mapping[str, IdleReason] = Field(default_factory=dict)
