"""The status as a table for a terminal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table

from tasks.views.models import StatusView, SymbolView


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items())) or "–"


def _when(symbol: SymbolView) -> str:
    if symbol.last_tick_ms is None:
        return "never"
    moment = datetime.fromtimestamp(symbol.last_tick_ms / 1000, UTC)
    return f"{moment:%H:%M:%S} ({symbol.last_tick_duration_ms} ms)"


def status_table(view: StatusView) -> RenderableType:
    """The account's totals, and one row a symbol."""
    flags = [name for name, on in (("paused", view.paused), ("stopped", view.stopped)) if on]
    head = Table(title=f"{view.account} · {view.mode} · {', '.join(flags) or 'trading'}", title_justify="left")
    for name in ("equity", "profit", "grid", "floating", "fees", "committed", "allocated", "pool", "free"):
        head.add_column(name, justify="right")
    amounts = (view.equity, view.equity_change, view.grid_profit, view.floating, view.fees)
    head.add_row(*map(_money, (*amounts, view.committed, view.allocated, view.pool, view.free)))
    rows = Table()
    for name in ("symbol", "price", "profit", "grid", "floating", "fees", "committed", "allocated", "free"):
        rows.add_column(name, justify="left" if name == "symbol" else "right")
    for name in ("cells", "idle because", "ticks", "fills", "last tick (UTC)"):
        rows.add_column(name)
    for symbol in view.symbols:
        money = (symbol.equity_change, symbol.grid_profit, symbol.floating, symbol.fees)
        share = (symbol.committed, symbol.allocated, symbol.free)
        rows.add_row(
            symbol.symbol + (" (paused)" if symbol.paused else ""),
            "–" if symbol.price is None else f"{symbol.price:,f}",
            *map(_money, (*money, *share)),
            _counts(symbol.cells),
            _counts(symbol.idle),
            str(symbol.ticks),
            str(symbol.fills),
            _when(symbol),
        )
    return Group(head, rows)
