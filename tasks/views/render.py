"""The status as a table for a terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from tasks.base.money import plain
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.tick.active_symbols import Lifecycle
from tasks.views.models import AlertChannelView, ResultsView, StatusView, SymbolView, WorkerView
from tasks.views.rules import history_notes


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items())) or "–"


def _when(symbol: SymbolView) -> str:
    if symbol.last_tick_ms is None:
        return "never"
    return f"{_clock(symbol.last_tick_ms)} ({symbol.last_tick_duration_ms} ms)"


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S}"


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M}"


def _breaker(view: StatusView | SymbolView) -> str:
    if view.breaker_until_ms is None:
        return view.breaker.value.replace("_", "-")
    return f"{view.breaker.value} until {_clock(view.breaker_until_ms)}"


def _flags(symbol: SymbolView) -> str:
    """A symbol's unusual states, in brackets: dark, retiring, selling at the market, paused, without Prefect."""
    words = ["DARK"] if symbol.dark else []
    words += [] if symbol.state is Lifecycle.TRADING else [symbol.state.value]
    if symbol.stop:
        words.append(symbol.stop)
    if symbol.liquidate:
        words.append("selling at the market")
    if symbol.paused:
        words.append("paused")
    if symbol.paused_in_prefect:
        words.append("paused in Prefect")
    if symbol.without_prefect_since_ms is not None:
        words.append(f"without Prefect since {_minute(symbol.without_prefect_since_ms)}")
    return f" ({', '.join(words)})" if words else ""


def _breaker_note(symbol: SymbolView) -> str:
    return "" if symbol.breaker is Phase.CLOSED else f" (breaker {_breaker(symbol)})"


def _table(title: str, names: tuple[str, ...], numbers_from: int = 0) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(names):
        number = position >= numbers_from
        table.add_column(name, justify="right" if number else "left", no_wrap=position == 0 or number)
    return table


def results_table(results: Sequence[ResultsView]) -> Table:
    """What was earned in each span of time; fits 80 columns. JSON has all figures."""
    names = ("span", "trades", "grid", "total", "fees", "grid APR", "total APR")
    table = _table("Results (UTC)", names, 1)
    for one in results:
        amounts = (one.grid_profit, one.total_pnl, one.fees)
        row = ["–" if amount is None else _money(amount) for amount in amounts]
        table.add_row(one.name, f"{one.trades:,}", *row, _share(one.grid_apr), _share(one.total_apr))
    return table


def _share(share: Decimal | None) -> str:
    return "–" if share is None else f"{share * 100:,.1f} %"


def _state(view: StatusView) -> str:
    flags = [name for name, on in (("paused", view.paused), ("stopped", view.stopped)) if on]
    dark = f"{len(view.dark)} of {len(view.symbols)} symbols dark" if view.dark else ""
    return ", ".join([*([dark] if dark else []), *flags]) or "trading"


def _workers_table(workers: Sequence[WorkerView]) -> Table:
    """Who trades, and what; fits 80 columns."""
    table = _table("Workers", ("host", "pid", "version", "heard", "loop lag", "symbols"), 1)
    table.columns[5].no_wrap, table.columns[5].justify = False, "left"
    for each in workers:
        state = "" if each.alive else " gone"
        heard = f"{each.age_seconds:.0f} s ago{state or (' draining' if each.draining else '')}"
        symbols = ", ".join(each.symbols) or "–"
        table.add_row(each.host, str(each.pid), each.version, heard, f"{each.lag_ms} ms", symbols)
    return table


def _channel(channel: AlertChannelView) -> str:
    text = f"{channel.name} {channel.delivered:,} sent"
    if channel.waiting:
        text += f", {channel.waiting:,} waiting"
    if channel.failing_since_ms is not None:
        text += f", FAILS since {_clock(channel.failing_since_ms)} ({channel.failures:,} failures): {channel.error}"
    return text


def status_table(view: StatusView) -> RenderableType:
    """The account's totals, the money of each symbol, and what each symbol does; fits 80 columns."""
    title = f"{view.account} · {view.mode} · {_state(view)} · amounts in {view.quote}"
    head = _table(title, ("equity", "profit", "grid", "floating", "fees"))
    head.add_row(*map(_money, (view.equity, view.equity_change, view.grid_profit, view.floating, view.fees)))
    pot = _table("The pot", ("pool", "allocated", "committed", "free"))
    pot.add_row(*map(_money, (view.pool, view.allocated, view.committed, view.free)))
    money = _table("Money", ("symbol", "profit", "grid", "floating", "fees", "committed", "allocated", "free"), 1)
    work = _table("Work", ("symbol", "price", "cells", "idle because", "ticks", "fills", "last tick (UTC)"))
    work.columns[2].no_wrap = work.columns[3].no_wrap = False
    for symbol in view.symbols:
        amounts = (symbol.equity_change, symbol.grid_profit, symbol.floating, symbol.fees)
        money.add_row(symbol.symbol, *map(_money, (*amounts, symbol.committed, symbol.allocated, symbol.free)))
        work.add_row(
            symbol.symbol + _flags(symbol) + _breaker_note(symbol),
            "–" if symbol.price is None else f"{symbol.price:,f}",
            _counts(symbol.cells),
            _counts(symbol.idle),
            str(symbol.ticks),
            str(symbol.fills),
            _when(symbol),
        )
    parts: list[RenderableType] = [head, pot, money, work]
    parts += [_workers_table(view.workers)] if view.workers else []
    parts += [results_table(view.results)] if view.results else []
    parts += [
        f"{symbol.symbol}: the tick at {_clock(symbol.failed_tick_ms)} failed. {symbol.failed_tick_why}"
        for symbol in view.symbols
        if symbol.failed_tick_ms is not None
    ]
    if view.unvalued_fees:
        unvalued = ", ".join(f"{plain(amount)} {coin}" for coin, amount in view.unvalued_fees.items())
        parts.append(f"Fees of {unvalued} are unvalued: no price could be read yet. Later ticks try again.")
    if view.mode == "paper":
        parts.insert(1, f"Prices: {view.prices}")
    if view.breaker is not Phase.CLOSED:
        parts.insert(0, f"The exchange's circuit breaker is {_breaker(view)}: {view.breaker_why}")
    if view.prefect_away_since_ms is not None:
        since = _minute(view.prefect_away_since_ms)
        parts.append(f"The Prefect server has not answered since {since}. Workers run the windows without it.")
    if view.alert_channels:
        parts.append(f"Alerts: {'; '.join(map(_channel, view.alert_channels))}.")
    if view.prefect_note:
        parts.append(view.prefect_note)
    if view.settings_differ:
        fields = ", ".join(view.settings_differ)
        parts.append(f"This file differs from the settings in force in: {fields}. `gridflow deploy` puts it in force.")
    for symbol in view.symbols:
        if symbol.missing:
            coin = symbol.symbol.partition("/")[0]
            what = f"{plain(symbol.missing_base)} {coin} left the account without a sell; its cost"
            parts.append(f"{symbol.symbol}: {what}, {_money(symbol.missing)} {view.quote}, is in no other column.")
    parts = [*(str(base) for base in view.base if base.confirmed), *parts]
    parts[:0] = history_notes(view.history)
    parts[:0] = [f"{symbol.symbol} is dark: {symbol.dark_why}." for symbol in view.dark]
    if view.short:
        parts.insert(
            0, f"The exchange holds {_money(view.short)} {view.quote} less than the pot promises: no new buys."
        )
    return Group(*parts)
