"""The read models. Money in quote as Decimal; as text in JSON."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, Field

from tasks.base.money import ZERO, plain
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.exchange.models import Frozen
from tasks.tick.active_symbols import Lifecycle
from tasks.views.result_models import ResultsView
from tasks.views.view import View


class BaseView(View):
    """A coin: the base that the cells hold, and what the exchange holds, free and locked, at the newest comparison.

    `confirmed`: that base is short is no fill which was still to be booked.
    """

    coin: str
    held: Decimal
    account: Decimal
    short: Decimal  # held less account, 0 where the account holds as much or more
    confirmed: bool
    at_ms: int

    def __str__(self) -> str:
        held = f"the cells hold {plain(self.held)} {self.coin}"
        return f"The exchange holds {plain(self.account)} {self.coin}, but {held}."


class ReasonView(View):
    """Why a symbol, or some of its cells, do nothing, and what would change that.

    `cells`: how many cells wait for this reason; 0 where it concerns the whole symbol. `wakes`: '' where nothing does.
    """

    code: str
    why: str
    wakes: str = ""
    cells: int = 0

    @property
    def who(self) -> str:
        """`3 cells: `, or '' where it concerns the whole symbol."""
        return f"{self.cells} cell{'' if self.cells == 1 else 's'}: " if self.cells else ""

    def __str__(self) -> str:
        return f"{self.who}{self.why}" + (f"; waits for: {self.wakes}" if self.wakes else "")


class SymbolView(View):
    """One symbol now."""

    symbol: str
    price: Decimal | None
    base: Decimal
    inventory_value: Decimal
    earned: Decimal = ZERO  # base that rounds kept at no cost (earn = "base"); a part of `base`
    earned_value: Decimal = ZERO  # its worth at the price; a part of `floating`
    equity_change: Decimal
    grid_profit: Decimal
    floating: Decimal
    missing: Decimal = ZERO  # cost of base that left without a sell, less what came back; equity change is less by it
    missing_base: Decimal = ZERO  # its amount
    fees: Decimal
    identity_error: Decimal
    unvalued_fees: Mapping[str, Decimal] = Field(default_factory=dict)  # coin → amount whose worth is not booked yet
    fees_waiting: int = 0  # fees of other trades that its cells still have to pay
    allocated: Decimal
    used: Decimal
    reserved: Decimal
    committed: Decimal
    free: Decimal
    usage: Decimal  # used ÷ allocated; see `committed_share`
    paused: bool
    state: Lifecycle = Lifecycle.TRADING  # trading, retiring or left
    liquidate: bool = False  # a retiring symbol sells at the market's price
    cap: Decimal = ZERO  # the most it may be allocated
    max_usage_pct: Decimal = ZERO  # the same as a share of the capital in force
    outside: bool = False  # the price is outside the grid
    to_resize: int = 0  # resting buys whose size is still to follow the allocation
    limits_version: int = 0  # of the allocations that its newest tick used
    grid_id: str | None
    lower: Decimal | None
    upper: Decimal | None
    place: Decimal | None = None  # of the price in the range: 0 at `lower`, 1 at `upper`, outside below 0 or above 1
    next_buy: Decimal | None = None  # highest price of a resting buy
    next_sell: Decimal | None = None  # lowest price of a resting sell
    unfit: str = ""  # why the grid only sells
    stop: str = ""  # the stop that fired and holds, in words; '' for none
    stop_why: str = ""  # the numbers that made it fire
    reasons: tuple[ReasonView, ...] = ()  # why it, or some of its cells, do nothing; the most important first
    cells: Mapping[str, int]  # state → how many
    idle: Mapping[str, int]  # reason → how many
    rounds: int
    open_orders: int
    resolving: int
    ticks: int
    fills: int
    last_tick_ms: int | None  # when, ms since the epoch
    last_tick_duration_ms: int | None
    every_seconds: float = 0.0  # the interval that its last tick planned
    samples: tuple[tuple[int, Decimal], ...] = Field((), exclude=True)  # recent (ms, price), oldest first
    tick_size: Decimal | None = None  # of its prices, where the grid knows it
    failed_tick_ms: int | None = None  # when the newest tick failed; None where it succeeded
    failed_tick_why: str = ""  # why it failed
    unlisted: bool = False  # it failed because the exchange does not list the symbol
    breaker: Phase = Phase.CLOSED  # of the symbol's circuit breaker
    breaker_until_ms: int | None = None  # while open: when it is tried again
    without_prefect_since_ms: int | None = None  # since when a worker runs its windows because Prefect hands none out
    flow_run: str = ""  # id of the Prefect run whose window ticks it now
    paused_in_prefect: bool = False  # its deployment or schedule, or the work pool, is switched off
    late_seconds: float = 0.0  # how much later than planned its next tick is
    dark: bool = False  # nobody ticks it, though somebody should
    dark_why: str = ""

    @property
    def committed_share(self) -> Decimal:
        """committed ÷ allocated; 0 without an allocation."""
        return self.committed / self.allocated if self.allocated else ZERO


class WorkerView(Frozen):
    """A process that trades, by its newest heartbeat."""

    worker: str
    name: str = ""  # at the Prefect server; '' in a process that is no Prefect worker
    host: str
    pid: int
    version: str
    age_seconds: float  # of the heartbeat
    alive: bool  # its heartbeat is young enough
    lag_ms: int  # longest delay of its trading loop since the heartbeat before
    draining: bool = False
    symbols: tuple[str, ...] = ()  # whose windows it runs


class HistoryView(Frozen):
    """The history database and what waits for it. `away_ms`: since when it does not answer; None: it does.

    `unread`: why it did not answer the reader of this view; '' where it did, or was not asked.
    """

    waiting: int = 0  # records in Redis that are not in the database yet
    waiting_bytes: int = 0
    away_ms: int | None = None
    away_why: str = ""
    unread: str = ""
    full: bool = False  # so much waits that there are no new buys
    restored_ms: int | None = None  # when flags were restored, because Redis was lost
    restored: str = ""  # which: `stopped, BTC/USDT paused`


class AlertChannelView(Frozen):
    """A channel that alerts are sent through. `error`: why it fails now; '' while it works."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    waiting: int = 0  # alerts that it has not delivered yet, those held back for a digest included
    delivered: int = 0  # alerts, those in digests included
    failures: int = 0  # attempts that failed
    dropped: int = 0  # alerts that were lost because too many waited while it failed
    error: str = ""
    failing_since_ms: int | None = None
    seen_ms: int = 0  # when a deliverer last had this channel


class StatusView(View):
    """The account now."""

    account: str
    quote: str
    mode: str  # paper or live
    market: Mapping[str, Any]  # where prices come from
    total_funds: Decimal
    invested: Decimal = ZERO  # put into the pot beside total_funds
    withdrawn: Decimal = ZERO  # profit taken out of the pot
    reinvested: Decimal = ZERO  # realised profit that works in the pool; a part of the profit, no money of its own
    withdrawable: Decimal = ZERO  # realised profit that can still be withdrawn
    equity: Decimal  # capital plus profit
    equity_change: Decimal
    grid_profit: Decimal
    floating: Decimal
    missing: Decimal = ZERO
    fees: Decimal
    identity_error: Decimal
    unvalued_fees: Mapping[str, Decimal] = Field(default_factory=dict)  # coin → amount whose worth is not booked yet
    pool: Decimal
    allocated: Decimal
    used: Decimal
    reserved: Decimal
    committed: Decimal
    free: Decimal
    max_committed: Decimal
    short: Decimal  # quote missing on the exchange; above 0 nothing new is granted
    base: tuple[BaseView, ...] = ()  # by coin, sorted; empty before the first comparison
    paused: bool
    stopped: bool
    limits_version: int
    settings_version: int = 0  # of the settings in force; 0 where none were published
    settings_differ: tuple[str, ...] = ()  # fields in which the reader's own file differs from those in force
    strategy: str = ""
    ticks: int
    fills: int
    symbols: tuple[SymbolView, ...]
    breaker: Phase = Phase.CLOSED  # of the exchange's circuit breaker
    breaker_until_ms: int | None = None  # while open: when it is tried again
    breaker_why: str = ""
    prefect_away_since_ms: int | None = None  # since when the Prefect server has not answered a worker
    prefect_note: str = ""  # a limit in Prefect that keeps windows waiting
    workers: tuple[WorkerView, ...] = ()  # those that died are listed for ten minutes
    history: HistoryView = HistoryView()
    alert_channels: tuple[AlertChannelView, ...] = ()  # by name; empty where no channel was ever set
    results: tuple[ResultsView, ...] = ()  # of today, 7 and 30 days; empty where the history was not read

    @property
    def capital(self) -> Decimal:
        """The operator's own money: total_funds + invested − withdrawn."""
        return self.total_funds + self.invested - self.withdrawn

    @property
    def moved(self) -> str:
        """`Invested 500.00, withdrawn 20.00, reinvested 0.00`; '' where no money ever moved."""
        amounts = {"Invested": self.invested, "withdrawn": self.withdrawn, "reinvested": self.reinvested}
        return ", ".join(f"{name} {amount:,.2f}" for name, amount in amounts.items()) if any(amounts.values()) else ""

    @property
    def dark(self) -> tuple[SymbolView, ...]:
        """The symbols that nobody ticks, though somebody should."""
        return tuple(symbol for symbol in self.symbols if symbol.dark)

    @property
    def recording_finished(self) -> bool:
        """Whether paper trading replays candle files and has reached their end: prices change no more."""
        return bool(self.market.get("ended"))

    @property
    def market_ms(self) -> int | None:
        """Time on a replayed or synthetic market, ms since the epoch; None where it is wall time."""
        at_ms = self.market.get("market_ms")
        return None if at_ms is None else int(at_ms)

    @property
    def prices(self) -> str:
        """Where paper trading takes its prices from: `replay (folder data), 60 × speed`."""
        kind, why, speed = (self.market.get(name) for name in ("source", "why", "speed"))
        if not kind:
            return "not known before the first tick"
        data = self.market.get("data")
        text = f"{kind} of {data}" if data else str(kind)
        # `why` says something only where the program chose.
        text += f" ({why})" if why and not str(why).startswith("as configured") else ""
        return text + ("" if speed in (None, "1") else f", {speed} × speed")

    def totals(self) -> tuple[str, ...]:
        """Equity, profit, grid profit, floating and fees as text."""
        return tuple(
            f"{amount:.2f}" for amount in (self.equity, self.equity_change, self.grid_profit, self.floating, self.fees)
        )
