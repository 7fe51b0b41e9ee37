"""Views as plain rows of text and numbers, for the screens. Pure. Times are UTC, money is in quote.

Amounts become floats for the browser's tables; the CSV has the exact amounts.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

from tasks.base.money import plain
from tasks.exchange.limits.circuit_breaker import Phase
from tasks.funds.models import RebalanceReport
from tasks.ledger.models import Fill
from tasks.tick.active_symbols import Lifecycle
from tasks.views.models import ActionView, BlockedView, EquityPoint, LogLine, ResultsView, StatusView, SymbolView

Row: TypeAlias = dict[str, str | int | float | bool | None]

_FAILURES = 5
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def iso(ms: int) -> str:
    """Milliseconds since the epoch as `2024-01-01T00:00:00.000Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def money(amount: Decimal) -> str:
    """`1,234.50`; a minus sign only where two decimals show something."""
    text = f"{amount:,.2f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def signed(amount: Decimal) -> str:
    """`+12.30`, `-0.50`, `0.00`."""
    text = money(amount)
    return f"+{text}" if amount > 0 and text.strip("0.,") else text


def percent(part: Decimal, whole: Decimal) -> str:
    """`12.3 %`; a dash without a whole."""
    return f"{part / whole * 100:.1f} %" if whole else "–"


def age_text(seconds: float) -> str:
    """`3 s`, `4 min`, `2 h`, `5 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def tick_age(symbol: SymbolView, now_ms: int) -> float | None:
    """Seconds since the symbol's last tick; None before the first."""
    return None if symbol.last_tick_ms is None else max(now_ms - symbol.last_tick_ms, 0) / 1000


def tick_ages(view: StatusView, now_ms: int, limit: int = 12) -> str:
    """Age of each symbol's last tick, the oldest first; at most `limit` symbols."""
    ages = {symbol.symbol: tick_age(symbol, now_ms) for symbol in view.symbols}
    ordered = sorted(ages.items(), key=lambda item: (item[1] is not None, -(item[1] or 0), item[0]))
    shown = [f"{name} {'never' if age is None else age_text(age)}" for name, age in ordered[:limit]]
    more = len(ordered) - len(shown)
    return " · ".join(shown) + (f" · and {more} more" if more else "")


def dark_text(view: StatusView) -> str:
    """Symbols that nobody ticks, and why; empty where there is none. At most five symbols."""
    shown = [f"{symbol.symbol}: {symbol.dark_why}" for symbol in view.dark[:_FAILURES]]
    more = f" · and {len(view.dark) - _FAILURES} more" if len(view.dark) > _FAILURES else ""
    return " · ".join(shown) + more


def breaker_text(view: StatusView) -> str:
    """Which circuit breakers are not closed; empty when all are."""
    if view.breaker is not Phase.CLOSED:
        until = f" until {iso(view.breaker_until_ms)}" if view.breaker_until_ms else ""
        return f"No ticks{until}, the exchange's circuit breaker is {view.breaker.value}: {view.breaker_why}"
    broken = [symbol.symbol for symbol in view.symbols if symbol.breaker is not Phase.CLOSED]
    more = f" and {len(broken) - 10} more" if len(broken) > 10 else ""
    return f"Tick after tick failed, circuit breaker open: {', '.join(broken[:10])}{more}" if broken else ""


def base_text(view: StatusView) -> str:
    """Coins of which the exchange holds less than the cells; empty where there is none."""
    return " · ".join(str(base) for base in view.base if base.confirmed)


def failure_text(view: StatusView) -> str:
    """Symbols whose newest tick failed, and why; empty when none did. At most five symbols."""
    failed = [
        f"{symbol.symbol}, tick of {iso(symbol.failed_tick_ms)}: {symbol.failed_tick_why}"
        for symbol in view.symbols
        if symbol.failed_tick_ms is not None
    ]
    shown = failed[:_FAILURES]
    return " · ".join(shown) + (f" · and {len(failed) - _FAILURES} more" if len(failed) > _FAILURES else "")


def counts(found: Mapping[str, int]) -> str:
    """`12 idle, 3 holding`."""
    return ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in sorted(found.items()) if count)


def fill_rows(fills: Iterable[Fill]) -> list[Row]:
    """One row a fill."""
    return [
        {
            "time": iso(fill.at_ms),
            "symbol": fill.symbol,
            "side": fill.side.value,
            "price": float(fill.price),
            "qty": float(fill.qty),
            "quote": float(fill.quote),
            "fee": float(fill.fee_quote),
            "profit": float(fill.profit) if fill.side.value == "sell" else None,
            "maker": fill.maker,
            "order": fill.client_id,
        }
        for fill in fills
    ]


def symbol_rows(view: StatusView, now_ms: int) -> list[Row]:
    """One row a symbol: what it has earned, and how its grid stands."""
    return [
        {
            "symbol": symbol.symbol,
            "price": None if symbol.price is None else float(symbol.price),
            "fills": symbol.fills,
            "rounds": symbol.rounds,
            "profit": float(symbol.equity_change),
            "grid": float(symbol.grid_profit),
            "floating": float(symbol.floating),
            "fees": float(symbol.fees),
            "orders": symbol.open_orders,
            "cells": counts(symbol.cells),
            "idle": counts(symbol.idle),
            "age": tick_age(symbol, now_ms),
        }
        for symbol in view.symbols
    ]


_CSV_FIELDS = [name for name in Fill.model_fields if name != "at_ms"]


def csv_head() -> bytes:
    """The first line of the CSV of fills."""
    return _csv([["time_utc", *_CSV_FIELDS]])


def csv_lines(fills: Iterable[Fill]) -> bytes:
    """All fields of the fills, amounts exact, times in UTC."""
    return _csv([iso(fill.at_ms), *(_csv_cell(getattr(fill, name)) for name in _CSV_FIELDS)] for fill in fills)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _csv_cell(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text  # no formula in a spreadsheet


def share_rows(view: StatusView) -> list[Row]:
    """One row a symbol: its share of the pot."""
    return [
        {
            "symbol": symbol.symbol,
            "state": symbol_state(view, symbol),
            "allocated": float(symbol.allocated),
            "cap": float(symbol.cap),
            "used": float(symbol.used),
            "reserved": float(symbol.reserved),
            "committed": float(symbol.committed),
            "to_resize": symbol.to_resize,
            "free": float(symbol.free),
            "usage": float(symbol.committed / symbol.allocated) if symbol.allocated else 0.0,
        }
        for symbol in view.symbols
    ]


def symbol_state(view: StatusView, symbol: SymbolView) -> str:
    """`trading`, `dark`, `paused` or `stopped`; `retiring` or `left` for a symbol that is no longer configured."""
    if symbol.state is not Lifecycle.TRADING:
        return symbol.state.value
    if view.stopped:
        return "stopped"
    if symbol.dark:
        return "dark"
    return "paused" if view.paused or symbol.paused else "trading"


def share_parts(view: StatusView, limit: int) -> list[Row]:
    """Used, reserved and free, one row a part, of the `limit` symbols with the largest allocations."""
    largest = sorted(view.symbols, key=lambda symbol: (-symbol.allocated, symbol.symbol))[:limit]
    return [
        {"symbol": symbol.symbol, "part": part, "amount": float(amount), "order": order}
        for symbol in largest
        for order, (part, amount) in enumerate(
            (("used", symbol.used), ("reserved", symbol.reserved), ("free", symbol.free))
        )
    ]


def rebalance_rows(reports: Iterable[RebalanceReport]) -> list[Row]:
    """One row a symbol and rebalance, newest first."""
    return [
        {
            "time": iso(report.at_ms),
            "version": report.version,
            "reason": report.reason,
            "strategy": report.strategy,
            "symbol": change.symbol,
            "before": float(change.before),
            "target": float(change.target),
            "after": float(change.after),
            "change": float(change.after - change.before),
            "committed": float(change.committed),
        }
        for report in reports
        for change in report.changes
    ]


def blocked_rows(found: Mapping[tuple[str, str], int]) -> list[Row]:
    """Refusals by symbol and reason, most first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [{"symbol": symbol, "reason": reason, "count": count} for (symbol, reason), count in ordered]


def refusal_rows(found: Iterable[BlockedView]) -> list[Row]:
    """The newest refusals, one row each."""
    return [
        {
            "time": iso(each.at_ms),
            "symbol": each.symbol,
            "reason": each.reason,
            "amount": float(each.amount),
            "order": each.order_id,
        }
        for each in found
    ]


def result_rows(found: Iterable[ResultsView]) -> list[Row]:
    """One row a time span."""
    return [
        {
            "name": one.name,
            "trades": one.trades,
            "rounds": one.rounds,
            "win_rate": _optional(one.win_rate),
            "grid": float(one.grid_profit),
            "total": _optional(one.total_pnl),
            "fees": float(one.fees),
            "drawdown": float(one.max_drawdown),
            "grid_apr": _optional(one.grid_apr),
            "total_apr": _optional(one.total_apr),
            "held": _optional(one.buy_and_hold),
        }
        for one in found
    ]


def _optional(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def action_rows(found: Iterable[ActionView]) -> list[Row]:
    """What operators did, one row each."""
    return [{"time": iso(one.at_ms)} | one.model_dump(exclude={"at_ms"}) for one in found]


def curve_rows(points: Sequence[EquityPoint], view: StatusView, now_ms: int) -> list[Row]:
    """The kept points and the present moment, oldest first."""
    kept = [(point.at_ms, point.equity, point.grid_profit) for point in points]
    return [
        {"time": iso(at_ms), "equity": float(equity), "grid": float(grid)}
        for at_ms, equity, grid in [*kept, (now_ms, view.equity, view.grid_profit)]
    ]


def matching(lines: Iterable[LogLine], text: str) -> list[LogLine]:
    """Lines whose message, logger, source or fields contain `text`, in any case."""
    wanted = text.strip().casefold()
    return [line for line in lines if not wanted or wanted in _searched(line).casefold()]


def _searched(line: LogLine) -> str:
    return " ".join((line.level, line.source, line.logger, line.message, fields_text(line.fields)))


def fields_text(fields: Mapping[str, str]) -> str:
    """`symbol=BTC/USDT side=buy`."""
    return " ".join(f"{name}={value}" for name, value in fields.items())


def log_rows(lines: Iterable[LogLine]) -> list[Row]:
    """One row a record."""
    return [
        {
            "time": iso(line.at_ms),
            "level": line.level,
            "source": line.source,
            "message": line.message,
            "fields": fields_text(line.fields),
            "logger": line.logger,
        }
        for line in lines
    ]


def escaped(text: str) -> str:
    """`text` with everything Streamlit's Markdown could act on made harmless."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+-.!|~:$&" else char for char in text)
