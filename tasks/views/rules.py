"""From records to views. Pure."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tasks.base.money import ZERO, from_units, units_down
from tasks.exchange.limits.circuit_breaker import Breaker, Phase
from tasks.funds.models import FundsStatus, TraderAllocation
from tasks.funds.rules import SPREAD_FIRES, spread_of_usage
from tasks.ledger.base_guard import BaseWatch
from tasks.ledger.models import Valuation
from tasks.ledger.rules import earned_of, realised_of, total, unvalued_fees, value
from tasks.risk.models import StopCode
from tasks.settings.in_force import InForce
from tasks.settings.model import Settings
from tasks.tick.active_symbols import Lifecycle, lifecycle_of
from tasks.tick.dark import ON_TIME, Lateness, lateness
from tasks.tick.heartbeat import Workers, dead_after_ms
from tasks.tick.models import TickFailure, TickReport
from tasks.views.models import BaseView, StatusView, SymbolView, WorkerView
from tasks.views.price_range import next_orders, place_in_range
from tasks.views.store import AccountRecords, SymbolRecords
from tasks.views.symbol_reasons import with_reasons


def symbol_view(
    settings: Settings,
    records: SymbolRecords,
    share: TraderAllocation,
    stats: Mapping[str, str],
    own_since_ms: int | None = None,
    paused_in_prefect: bool = False,
    late: Lateness = ON_TIME,
    flow_run: str = "",
) -> SymbolView:
    """One symbol. Before its first tick there is no price, and nothing to value."""
    symbol, last, grid = share.symbol, records.last, records.grid
    worth = value(records.book, last.price) if last else _nothing()
    failure = _failure(stats.get(f"error|{symbol}"), last)
    next_buy, next_sell = next_orders(records.cells)
    earned, levels = earned_of(records.cells), grid.all_levels if grid else ()
    return SymbolView(
        symbol=symbol,
        base=records.book.base,
        inventory_value=worth.inventory_value,
        earned=earned,
        earned_value=earned * last.price if last else ZERO,
        equity_change=worth.equity_change,
        grid_profit=worth.grid_profit,
        floating=worth.floating,
        missing=worth.missing,
        missing_base=records.book.missing_base,
        fees=records.book.fees,
        identity_error=worth.identity_error,
        unvalued_fees=unvalued_fees([records.book]),
        state=lifecycle_of(symbol, settings, share.registered),
        grid_id=grid.grid_id if grid else None,
        lower=levels[0] if levels else None,
        upper=levels[-1] if levels else None,
        tick_size=grid.tick_size if grid else None,
        place=place_in_range(last.price if last else None, levels),
        next_buy=next_buy,
        next_sell=next_sell,
        cells=Counter(cell.state.value for cell in records.cells),
        rounds=sum(cell.rounds for cell in records.cells),
        open_orders=records.open_orders,
        ticks=int(stats.get(f"ticks|{symbol}", 0)),
        fills=int(stats.get(f"fills|{symbol}", 0)),
        failed_tick_ms=failure.at_ms if failure else None,
        failed_tick_why=failure.error if failure else "",
        unlisted=failure.unlisted if failure else False,
        without_prefect_since_ms=own_since_ms,
        paused_in_prefect=paused_in_prefect,
        flow_run=flow_run,
        late_seconds=late.late_seconds,
        dark=late.dark,
        dark_why=late.why,
        **_breaker_fields(records.breaker),
        **_share_fields(share),
        **_tick_fields(last),
    )


def _share_fields(share: TraderAllocation) -> dict[str, Any]:
    """The fields of a symbol's view that come from its share of the pot."""
    return {
        "allocated": from_units(share.allocated_units),
        "used": from_units(share.used_units),
        "reserved": from_units(share.reserved_units),
        "committed": from_units(share.committed_units),
        "free": from_units(share.free_units),
        "usage": share.usage,
        "paused": share.paused,
        "liquidate": share.liquidate,
        "stop": StopCode(share.fired).words if share.fired else "",
        "cap": from_units(share.cap_units),
        "max_usage_pct": share.max_usage_pct,
    }


def _tick_fields(last: TickReport | None) -> dict[str, Any]:
    """The fields of a symbol's view that come from its newest tick."""
    return {
        "price": last.price if last else None,
        "outside": last.outside if last else False,
        "unfit": last.unfit if last else "",
        "stop_why": last.marks.why if last else "",
        "to_resize": last.to_resize if last else 0,
        "limits_version": last.limits_version if last else 0,
        "idle": Counter(last.idle.values()) if last else {},
        "fees_waiting": last.fees_waiting if last else 0,
        "resolving": last.resolving if last else 0,
        "last_tick_ms": last.at_ms if last else None,
        "last_tick_duration_ms": last.duration_ms if last else None,
        "every_seconds": float(last.next_in) if last else 0.0,
        "samples": last.samples if last else (),
    }


def _failure(text: str | None, last: TickReport | None) -> TickFailure | None:
    """The newest failure, where no tick has succeeded since."""
    failure = TickFailure.model_validate_json(text) if text else None
    return failure if failure and (last is None or failure.at_ms > last.at_ms) else None


def _breaker_fields(breaker: Breaker) -> dict[str, Any]:
    """The fields of a view that come from its circuit breaker."""
    until_ms = breaker.retry_at_ms if breaker.phase is Phase.OPEN else None
    return {"breaker": breaker.phase, "breaker_until_ms": until_ms}


def _nothing() -> Valuation:
    return Valuation(equity_change=ZERO, grid_profit=ZERO, floating=ZERO, inventory_value=ZERO, identity_error=ZERO)


def status_view(
    found: InForce, records: AccountRecords, funds: FundsStatus, market: Mapping[str, Any], mode: str
) -> StatusView:
    """The whole account; totals are exact sums of the symbols, those that left included.

    `found`: the settings in force. `mode`: the trading mode of the books.
    """
    settings = found.settings
    dead_ms = dead_after_ms(int(settings.trading.lease_seconds * 1000))
    living = records.workers.living(dead_ms)
    own = {window.symbol: window.since_ms for worker in living for window in worker.windows if window.own}
    runs = {window.symbol: window.run for worker in living for window in worker.windows if window.run}
    away = [each.prefect_away_since_ms for each in living if each.prefect_away_since_ms is not None]
    prefect = records.prefect
    paused = {symbol for symbol in records.symbols if prefect is not None and prefect.is_paused(symbol)}
    expected = {
        symbol
        for symbol, share in funds.symbols.items()
        if not (funds.stopped or symbol in paused)
        and lifecycle_of(symbol, settings, share.registered) is not Lifecycle.LEFT
    }
    symbols = tuple(
        symbol_view(
            settings,
            one,
            funds.symbols[symbol],
            records.stats,
            own.get(symbol),
            symbol in paused,
            _lateness(symbol, records, dead_ms) if symbol in expected else ON_TIME,
            runs.get(symbol, ""),
        )
        for symbol, one in sorted(records.symbols.items())
    )

    def summed(name: str) -> Decimal:
        return total(getattr(symbol, name) for symbol in symbols)

    change = summed("equity_change")
    realised = realised_of(one.book for one in records.symbols.values())
    view = StatusView(
        account=settings.account,
        quote=settings.quote,
        mode=mode.partition(":")[0],
        market=market,
        total_funds=settings.total_funds,
        equity=total([funds.capital.put_in(settings.total_funds), change]),
        equity_change=change,
        grid_profit=summed("grid_profit"),
        floating=summed("floating"),
        missing=summed("missing"),
        fees=summed("fees"),
        identity_error=change - summed("grid_profit") - summed("floating") + summed("missing"),
        unvalued_fees=unvalued_fees(one.book for one in records.symbols.values()),
        allocated=summed("allocated"),
        withdrawable=from_units(funds.capital.withdrawable_units(units_down(realised))),
        settings_version=found.version,
        settings_differ=found.differing,
        strategy=settings.allocation_strategy.value,
        ticks=sum(symbol.ticks for symbol in symbols),
        fills=sum(symbol.fills for symbol in symbols),
        symbols=symbols,
        base=tuple(map(_base_view, records.base)),
        **_breaker_fields(records.breaker),
        breaker_why=records.breaker.why,
        prefect_away_since_ms=min(away, default=None),
        prefect_note=prefect.limit_note if prefect is not None else "",
        workers=_worker_views(records.workers, dead_ms),
        history=records.history,
        alert_channels=tuple(records.alert_channels),
        **_pot_fields(funds),
    )
    return with_reasons(view)


def _lateness(symbol: str, account: AccountRecords, dead_ms: int) -> Lateness:
    """How late a symbol is that should be ticked. One that never ticked is dark once a worker has said so."""
    last, mark = account.symbols[symbol].last, account.dark.get(symbol)
    if last is not None and not last.left:
        return lateness(symbol, last, account.workers, dead_ms)
    return ON_TIME if mark is None else Lateness((account.workers.now_ms - mark.since_ms) / 1000, mark.why)


def _worker_views(workers: Workers, dead_ms: int) -> tuple[WorkerView, ...]:
    living = {each.worker for each in workers.living(dead_ms)}
    ordered = sorted(workers.heartbeats, key=lambda each: (each.host, each.started_ms, each.worker))
    return tuple(
        WorkerView(
            worker=each.worker,
            name=each.name,
            host=each.host,
            pid=each.pid,
            version=each.version,
            age_seconds=max(workers.now_ms - each.at_ms, 0) / 1000,
            alive=each.worker in living,
            lag_ms=each.lag_ms,
            draining=each.draining,
            symbols=tuple(sorted({window.symbol for window in each.windows})),
        )
        for each in ordered
    )


def _base_view(watch: BaseWatch) -> BaseView:
    now = watch.newest
    return BaseView(
        coin=watch.coin,
        held=now.held,
        account=now.account,
        short=now.short,
        confirmed=watch.short > 0,
        at_ms=now.at_ms,
    )


def _pot_fields(funds: FundsStatus) -> dict[str, Any]:
    """The fields of the account's view that come from the pot."""
    return {
        "pool": from_units(funds.pool_units),
        "used": from_units(funds.used_units),
        "reserved": from_units(funds.reserved_units),
        "committed": from_units(funds.committed_units),
        "free": from_units(funds.free_units),
        "max_committed": from_units(funds.max_committed_units),
        "short": from_units(funds.short_units),
        "paused": funds.paused,
        "stopped": funds.stopped,
        "invested": from_units(funds.invested_units),
        "withdrawn": from_units(funds.withdrawn_units),
        "reinvested": from_units(funds.reinvested_units),
        "limits_version": funds.version,
    }


def has_usage_drift(view: StatusView) -> bool:
    """Whether the usage of two trading symbols differs so much that a rebalance is triggered."""
    usages = [one.usage for one in view.symbols if one.state is Lifecycle.TRADING]
    return spread_of_usage(usages) >= SPREAD_FIRES


def unfollowed(view: StatusView) -> dict[str, str]:
    """By symbol, what does not follow the allocations in force yet; empty once every symbol does.

    Inventory above the allocation is no difference: it came from fills in flight, and only sales reduce it. A symbol
    that the exchange does not list is not waited for.
    """
    found = {symbol.symbol: _unfollowed(symbol, view.limits_version) for symbol in view.symbols}
    return {symbol: why for symbol, why in found.items() if why}


def _unfollowed(symbol: SymbolView, version: int) -> str:
    if symbol.state is Lifecycle.LEFT or symbol.unlisted:
        return ""
    if symbol.committed > symbol.allocated and symbol.reserved:
        return f"{symbol.committed:,.2f} committed, above the allocation of {symbol.allocated:,.2f}"
    if symbol.limits_version < version:
        return "has not ticked since the allocations changed"
    return f"{symbol.to_resize} resting buys are still to change their size" if symbol.to_resize else ""
