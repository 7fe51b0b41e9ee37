"""The state at the start of a tick, and the reports of ticks and windows."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import AliasChoices, Field

from tasks.base.incidents import Incident
from tasks.base.money import ZERO
from tasks.exchange.models import Frozen
from tasks.funds.capital import Capital
from tasks.funds.models import TraderAllocation
from tasks.grid.models import Cell, Grid
from tasks.ledger.base_guard import BaseCorrection
from tasks.ledger.models import Book, QueuedFee
from tasks.orders.models import Intent
from tasks.risk.models import RiskMarks


class TickReport(Frozen):
    """What one tick did. The views and the next tick read it."""

    symbol: str
    at_ms: int
    duration_ms: int
    fence: int
    price: Decimal
    fills: int
    placed: int
    cancelled: int
    total_ticks: int = 0  # since the books were opened
    total_fills: int = 0
    refused: Mapping[str, str] = Field(default_factory=dict)  # cell key → code of the pot's refusal
    idle: Mapping[str, str] = Field(default_factory=dict)  # cell key → reason
    not_placed: int = 0  # orders without a clear answer, or refused because of the exchange or the account
    limits_version: int = 0  # of the allocations that the tick used
    to_resize: int = 0  # resting buys whose size does not follow the allocation yet, also those being replaced
    marks: RiskMarks = RiskMarks()  # what stops, limits and guards remember
    stop_fires: bool = False  # a stop fired at this tick
    unfit: str = ""  # why the grid only sells: the exchange's present filters or fees do not allow it
    outside: bool = False  # the price is outside the grid
    retiring: bool = False  # the symbol left the settings: it buys nothing and sells what it holds
    left: bool = False  # the symbol left the settings and holds nothing
    # Orders of ours that were found without a journal entry, and that are being cancelled.
    orphan_orders: tuple[str, ...] = Field((), validation_alias=AliasChoices("orphan_orders", "strays"))
    fees_waiting: int = 0  # fees of other trades that its cells still have to pay
    resolving: int = 0  # orders whose outcome is unknown
    next_in: Decimal = ZERO  # seconds until the next tick
    samples: tuple[tuple[int, Decimal], ...] = ()  # recent (ms, price), oldest first


class SymbolState(Frozen):
    """A symbol's records in Redis when a tick begins, read under its lease."""

    fence: int
    grid: Grid | None
    book: Book
    last: TickReport | None
    cells: Mapping[str, Cell]
    intents: Mapping[str, Intent]
    share: TraderAllocation
    pool_free_units: int  # below 0 while more than the pool is committed
    short: bool  # the exchange holds less than is committed: no new grants
    limits_version: int
    settings_version: int
    paused: bool
    stopped: bool
    fee_queue: Mapping[str, QueuedFee] = Field(default_factory=dict)  # fees that its cells still have to pay
    corrections: tuple[BaseCorrection, ...] = ()  # base that this tick takes out of the cells, or puts back
    capital: Capital = Capital()  # what was put into the pot, taken out and reinvested
    uncompared: bool = False  # the exchange did not list it when the books were compared after Redis restarted
    must_check_breakers: bool = False  # a circuit breaker is not closed or counts failures, or the exchange bans us


class TickFailure(Frozen):
    """The newest failed tick of a symbol: when, and why."""

    at_ms: int
    error: str
    unlisted: bool = False  # the exchange does not list the symbol


class WindowReport(Frozen):
    """What one window did; the result of a grid-tick run."""

    symbol: str
    ticks: int
    fills: int
    placed: int
    failed_ticks: int
    why_failed: str = ""  # of the newest failed tick
    ended: str  # time | cancelled | stopping | lease held elsewhere | late | left
    price: Decimal | None = None
    late_seconds: float = 0.0  # how much later than planned the latest tick began
    idle: Mapping[str, int] = Field(default_factory=dict)  # reason → cells that had no order at the last tick
    incidents: tuple[Incident, ...] = ()
    profit: Decimal | None = None  # grid profit of this window, in quote; the next two as they stand at its end
    grid_profit: Decimal | None = None
    floating: Decimal | None = None
