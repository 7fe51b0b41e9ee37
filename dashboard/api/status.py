"""The dashboard's figures: the whole status, and the core figures in one round trip to Redis."""

import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache

import psutil
from fastapi import APIRouter, Depends

from dashboard.api.amounts import Answer, both, moment
from dashboard.api.security import operator
from dashboard.api.trades import Trade
from dashboard.connection import reader
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Fill
from tasks.tick.active_symbols import Lifecycle
from tasks.views import store
from tasks.views.models import StatusView, SymbolView
from tasks.views.quick import quick_stats
from tasks.views.steps import read_status

router = APIRouter(prefix="/dashboard", tags=["dashboard"], dependencies=[Depends(operator)])
_STARTED = time.monotonic()


class Totals(Answer):
    """The account, in quote."""

    account: str
    quote: str
    mode: str
    total_value: float
    total_value_exact: str
    total_pnl: float
    total_pnl_exact: str
    grid_profit: float
    grid_profit_exact: str
    floating: float
    floating_exact: str
    fees: float
    fees_exact: str
    pool: float
    pool_exact: str
    committed: float
    committed_exact: str
    invested: float
    invested_exact: str
    withdrawn: float
    withdrawn_exact: str
    reinvested: float
    reinvested_exact: str
    active_positions: int
    open_orders: int
    paused: bool
    stopped: bool


class System(Answer):
    """This machine: percent of its processors and memory in use; seconds that this server runs; workers alive."""

    cpu_usage: float
    memory_usage: float
    uptime: int
    workers: int
    workers_alive: int
    history_away_since: datetime | None
    prefect_away_since: datetime | None


class Balance(Answer):
    """What a symbol holds: base, and its value in quote; and its share of the pot, in quote."""

    base: float
    base_exact: str
    value: float
    value_exact: str
    allocated: float
    allocated_exact: str
    used: float
    used_exact: str
    reserved: float
    reserved_exact: str


class Reason(Answer):
    """Why a symbol, or so many of its cells, do nothing, and what would change that. `cells` 0: the whole symbol."""

    code: str
    why: str
    wakes: str
    cells: int


class SymbolStatus(Answer):
    """One symbol. `status`: trading, paused, stopped, dark, retiring or left; `why` where it does not trade.

    `place` of the price in the range: 0 lowest level, 1 highest, outside below 0 or above 1.
    """

    symbol: str
    status: str
    why: str
    price: float | None
    price_exact: str | None
    lower: float | None
    lower_exact: str | None
    upper: float | None
    upper_exact: str | None
    place: float | None
    reasons: list[Reason]
    pnl: float
    pnl_exact: str
    grid_profit: float
    grid_profit_exact: str
    balance: Balance
    open_orders: int
    idle: dict[str, int]
    late_seconds: float
    last_tick: datetime | None
    last_trade: Trade | None


class StatusData(Answer):
    """The parts of the status."""

    dashboard: Totals
    system: System
    symbols: list[SymbolStatus]


class StatusAnswer(Answer):
    """The status of the account."""

    success: bool = True
    data: StatusData


def state_of(view: StatusView, symbol: SymbolView) -> tuple[str, str]:
    """(state, why) of a symbol in words."""
    if symbol.state is Lifecycle.LEFT:
        return "left", "it left the settings and holds nothing"
    if view.stopped:
        return "stopped", "trading is stopped"
    if symbol.dark:
        return "dark", symbol.dark_why
    if symbol.paused_in_prefect:
        return "paused", "it is paused in Prefect"
    if view.paused or symbol.paused:
        return "paused", "new buys are paused"
    if symbol.state is Lifecycle.RETIRING:
        return "retiring", "it left the settings and sells what it holds"
    return "trading", symbol.failed_tick_why


def _time(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else moment(at_ms)


@router.get("/status")
def status() -> StatusAnswer:
    """The account, this machine, and every symbol with its last trade."""
    source = reader()

    async def ask(redis: RedisClient) -> tuple[StatusView, Mapping[str, Fill]]:
        view = await read_status(source.settings, redis)
        return view, await store.newest_fills(redis, source.keys, [one.symbol for one in view.symbols])

    view, newest = source.read(ask)
    symbols = [_symbol(view, one, newest.get(one.symbol)) for one in view.symbols]
    return StatusAnswer(data=StatusData(dashboard=_totals(view), system=_system(view), symbols=symbols))


def _totals(view: StatusView) -> Totals:
    amounts = both(
        total_value=view.equity,
        total_pnl=view.equity_change,
        grid_profit=view.grid_profit,
        floating=view.floating,
        fees=view.fees,
        pool=view.pool,
        committed=view.committed,
        invested=view.invested,
        withdrawn=view.withdrawn,
        reinvested=view.reinvested,
    )
    return Totals(
        account=view.account,
        quote=view.quote,
        mode=view.mode,
        active_positions=sum(one.base > 0 for one in view.symbols),
        open_orders=sum(one.open_orders for one in view.symbols),
        paused=view.paused,
        stopped=view.stopped,
        **amounts,
    )


def _system(view: StatusView) -> System:
    return System(
        cpu_usage=psutil.cpu_percent(),
        memory_usage=psutil.virtual_memory().percent,
        uptime=int(time.monotonic() - _STARTED),
        workers=len(view.workers),
        workers_alive=sum(one.alive for one in view.workers),
        history_away_since=_time(view.history.away_ms),
        prefect_away_since=_time(view.prefect_away_since_ms),
    )


def _symbol(view: StatusView, symbol: SymbolView, newest: Fill | None) -> SymbolStatus:
    state, why = state_of(view, symbol)
    balance = both(
        base=symbol.base,
        value=symbol.inventory_value,
        allocated=symbol.allocated,
        used=symbol.used,
        reserved=symbol.reserved,
    )
    return SymbolStatus(
        symbol=symbol.symbol,
        status=state,
        why=why,
        balance=Balance(**balance),
        open_orders=symbol.open_orders,
        idle=dict(symbol.idle),
        late_seconds=symbol.late_seconds,
        last_tick=_time(symbol.last_tick_ms),
        last_trade=Trade.of(newest) if newest else None,
        place=None if symbol.place is None else float(symbol.place),
        reasons=[Reason(**reason.model_dump()) for reason in symbol.reasons],
        **both(price=symbol.price, lower=symbol.lower, upper=symbol.upper),
        **both(pnl=symbol.equity_change, grid_profit=symbol.grid_profit),
    )


class QuickAnswer(Answer):
    """The core figures, in quote."""

    success: bool = True
    total_value: float
    total_value_exact: str
    total_pnl: float
    total_pnl_exact: str
    grid_profit: float
    grid_profit_exact: str
    floating: float
    floating_exact: str
    fees: float
    fees_exact: str
    active_positions: int
    symbols: int
    open_orders: int
    paused: bool
    stopped: bool
    oldest_tick_seconds: float | None


@cache
def _known() -> list[tuple[str, ...]]:
    """The account's symbols at the last call: with them, one round trip is enough."""
    return [()]


@router.get("/quick-stats")
def quick() -> QuickAnswer:
    """The core figures."""
    source, known = reader(), _known()
    found = source.read(lambda redis: quick_stats(source.settings, redis, known[0]))
    known[0] = found.symbols
    one = found.stats
    amounts = both(
        total_value=one.total_value,
        total_pnl=one.total_pnl,
        grid_profit=one.grid_profit,
        floating=one.floating,
        fees=one.fees,
    )
    counts = one.model_dump(
        include={"active_positions", "symbols", "open_orders", "paused", "stopped", "oldest_tick_seconds"}
    )
    return QuickAnswer(**amounts, **counts)
