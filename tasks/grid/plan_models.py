"""What the planner goes by, and the plan that it makes. Money in units of 1e-8 quote."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import Field

from tasks.base.money import ZERO
from tasks.exchange.models import Frozen, Positive, Side
from tasks.exchange.order_ids import Purpose
from tasks.grid.models import Size
from tasks.settings.grids.common import ONE, CellWeights

MARKET_SLIPPAGE = Decimal("0.001")  # an order at the market may be this share worse than the best price


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


class RestingBuy(Protocol):
    """A buy that rests on the exchange, as the journal has it."""

    @property
    def qty(self) -> Decimal:
        """Base, in all."""

    @property
    def filled(self) -> Decimal:
        """Base, so far."""

    @property
    def units_left(self) -> int:
        """Quote that is still reserved for it (1e-8)."""

    @property
    def post_only(self) -> bool:
        """Whether it was sent to rest; else to fill at once."""


class AssumedBuy(NamedTuple):
    """A resting buy as it would be."""

    qty: Decimal
    units_left: int
    filled: Decimal = ZERO
    post_only: bool = True


@dataclass(slots=True, kw_only=True)
class GridLimits:
    """What one grid may do, and the size of its cells."""

    share: Decimal = ONE  # of the symbol's allocation
    size: Size | None = None  # configured, of a cell with weight 1; None: follows the allocation
    weights: CellWeights | None = None  # relative sizes of the cells; None: all are equal
    keeps_reserve: bool = False  # the highest cell holds base for levels above the range: it has no order of its own
    unfit: bool = False  # the exchange's present filters or fees do not allow the grid: no buys
    earns_base: bool = False  # a sell only brings back the cost of its lot; the rest is kept


@dataclass(slots=True, kw_only=True)
class Limits(GridLimits):
    """What the pot would grant now, the size of cells, and the operator's flags. Money in units of 1e-8 quote.

    `allocated`, `used` and `committed` are the symbol's; where `committed` is above `allocated`, buys shrink. What it
    says of one grid is of the symbol's first, and of cells that belong to none; `others` has the rest by grid id.
    """

    others: Mapping[str, GridLimits] = field(default_factory=dict)

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
    refused: Mapping[str, str] = field(default_factory=dict)  # cell key → reason of the last refusal
    other_orders: int = 0  # open orders of the account that belong to no cell; 0 where no number limits them
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
