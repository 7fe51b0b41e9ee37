"""What the bot answers to commands that read. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from tasks.alerts.telegram.reasons import reason_text
from tasks.alerts.telegram.texts import said
from tasks.base.money import plain
from tasks.ledger.models import Fill
from tasks.views.line_models import LogLine
from tasks.views.models import StatusView, SymbolView
from tasks.views.result_models import ResultsView


def status_text(view: StatusView, language: str) -> str:
    """The account and each symbol, a line each."""
    say = partial(said, language)
    flags = [say(name) for name, on in (("flag_stopped", view.stopped), ("flag_paused", view.paused)) if on]
    head = f"{view.account} · {view.mode}" + (f" · {', '.join(flags)}" if flags else "")
    lines = [head, _totals(view, language), say("counts", fills=f"{view.fills:,}", ticks=f"{view.ticks:,}")]
    lines += [say("dark", symbol=symbol.symbol, why=symbol.dark_why) for symbol in view.dark]
    if view.short:
        lines.append(say("short", short=_money(view.short), quote=view.quote))
    for symbol in view.symbols:
        flag = f" {say('paused_symbol')}" if symbol.paused else ""
        facts = {"symbol": symbol.symbol, "price": _price(symbol), "change": _money(symbol.equity_change)}
        lines.append(say("symbol_line", **facts, orders=symbol.open_orders, flag=flag))
    return "\n".join(lines)


def profit_text(view: StatusView, language: str) -> str:
    """Profit since the beginning, in all and of each symbol."""
    say = partial(said, language)
    rows = [
        say(
            "profit_line",
            symbol=one.symbol,
            change=_money(one.equity_change),
            grid=_money(one.grid_profit),
            floating=_money(one.floating),
        )
        for one in view.symbols
    ]
    return "\n".join([_totals(view, language), say("fees", fees=_money(view.fees)), *rows])


def _totals(view: StatusView, language: str) -> str:
    amounts = {"equity": view.equity, "profit": view.equity_change, "grid": view.grid_profit, "floating": view.floating}
    return said(language, "totals", quote=view.quote, **{name: _money(one) for name, one in amounts.items()})


def results_text(found: ResultsView, language: str) -> str:
    """The results of a span."""
    say, total = partial(said, language), "–" if found.total_pnl is None else _money(found.total_pnl)
    counts = {"trades": found.trades, "buys": found.buys, "sells": found.sells, "rounds": found.rounds}
    shares = {"apr": found.total_apr, "grid_apr": found.grid_apr, "drawdown": found.max_drawdown}
    return "\n".join(
        [
            say("results_trades", span=found.name, **counts),
            say("results_profit", total=total, grid=_money(found.grid_profit), fees=_money(found.fees)),
            say("results_rates", **{name: _percent(one) for name, one in shares.items()}),
        ]
    )


def balance_text(view: StatusView, language: str) -> str:
    """Quote in the pot and coins in the cells."""
    say = partial(said, language, quote=view.quote)
    lines = [say("pool", pool=_money(view.pool), used=_money(view.used), reserved=_money(view.reserved))]
    lines.append(say("free", free=_money(view.free)))
    if view.moved:
        moved = {"invested": view.invested, "withdrawn": view.withdrawn, "reinvested": view.reinvested}
        lines.append(say("moved", **{name: _money(one) for name, one in moved.items()}))
    for symbol in view.symbols:
        coin, worth = symbol.symbol.partition("/")[0], _money(symbol.inventory_value)
        lines.append(say("coin_line", qty=plain(symbol.base), coin=coin, worth=worth))
    return "\n".join(lines)


def allocation_text(view: StatusView, language: str) -> str:
    """How the pot is shared."""
    say = partial(said, language)
    rows = [
        say(
            "share_line",
            symbol=one.symbol,
            committed=_money(one.committed),
            allocated=_money(one.allocated),
            usage=_percent(one.usage),
        )
        for one in view.symbols
    ]
    return "\n".join([say("strategy", strategy=view.strategy, pool=_money(view.pool), quote=view.quote), *rows])


def grid_text(symbol: SymbolView, language: str) -> str:
    """A symbol's grid and the states of its cells."""
    say = partial(said, language)
    ends = (
        f"{plain(symbol.lower)} – {plain(symbol.upper or Decimal(0))}" if symbol.lower is not None else say("no_grid")
    )
    cells = ", ".join(f"{count} {say(f'cell_{state.lower()}')}" for state, count in sorted(symbol.cells.items()))
    facts = {"symbol": symbol.symbol, "price": _price(symbol), "span": ends, "cells": cells or "–"}
    return say("grid", **facts, orders=symbol.open_orders, rounds=symbol.rounds)


def why_text(symbol: SymbolView, language: str) -> str:
    """Why a symbol, or some of its cells, do nothing, and what would wake them."""
    if not symbol.reasons:
        return said(language, "no_idle", symbol=symbol.symbol)
    return "\n".join([symbol.symbol, *(reason_text(reason, language) for reason in symbol.reasons)])


def trades_text(fills: Sequence[Fill], language: str) -> str:
    """Fills, newest first."""
    rows = [_trade(one, language) for one in fills]
    return "\n".join(rows) or said(language, "no_trades")


def _trade(fill: Fill, language: str) -> str:
    say, side = partial(said, language), fill.side.value
    facts = {"time": _time(fill.at_ms), "symbol": fill.symbol, "side": say(f"side_{side}")}
    line = say("trade_line", **facts, qty=plain(fill.qty), price=plain(fill.price))
    return line + (say("trade_profit", profit=_money(fill.profit)) if side == "sell" else "")


def log_text(lines: Sequence[LogLine], language: str) -> str:
    """Log lines, newest first."""
    rows = [f"{_time(one.at_ms)} {one.level} {one.message}{_fields(one.fields)}" for one in lines]
    return "\n".join(rows) or said(language, "no_log")


def _fields(fields: Mapping[str, str]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())[:200]


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%m-%d %H:%M:%S}"


def _price(symbol: SymbolView) -> str:
    return "–" if symbol.price is None else f"{symbol.price:,f}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _percent(share: Decimal | None) -> str:
    return "–" if share is None else f"{share * 100:,.1f} %"
