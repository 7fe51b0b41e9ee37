"""What the bot answers to commands that read. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tasks.alerts.telegram.texts import said
from tasks.base.money import plain
from tasks.ledger.models import Fill
from tasks.views.models import LogLine, ResultsView, StatusView, SymbolView


def status_text(view: StatusView) -> str:
    """The account and each symbol, a line each."""
    flags = [name for name, on in (("STOPPED", view.stopped), ("PAUSED", view.paused)) if on]
    head = f"{view.account} · {view.mode}" + (f" · {', '.join(flags)}" if flags else "")
    lines = [head, _totals(view), f"Fills {view.fills:,}, ticks {view.ticks:,}"]
    lines += [f"{symbol.symbol} is dark: {symbol.dark_why}" for symbol in view.dark]
    if view.short:
        lines.append(f"The exchange holds {_money(view.short)} {view.quote} too little: no new buys")
    for symbol in view.symbols:
        price = "–" if symbol.price is None else f"{symbol.price:,f}"
        flag = " paused" if symbol.paused else ""
        lines.append(f"{symbol.symbol} {price}: {_money(symbol.equity_change)}, {symbol.open_orders} orders{flag}")
    return "\n".join(lines)


def profit_text(view: StatusView) -> str:
    """Profit since the beginning, in all and of each symbol."""
    rows = [
        f"{one.symbol}: {_money(one.equity_change)} (grid {_money(one.grid_profit)}, floating {_money(one.floating)})"
        for one in view.symbols
    ]
    return "\n".join([_totals(view), f"Fees {_money(view.fees)}", *rows])


def _totals(view: StatusView) -> str:
    change, grid, floating = map(_money, (view.equity_change, view.grid_profit, view.floating))
    return f"Equity {_money(view.equity)} {view.quote}, profit {change} (grid {grid}, floating {floating})"


def results_text(found: ResultsView) -> str:
    """The results of a span."""
    total = "–" if found.total_pnl is None else _money(found.total_pnl)
    apr, grid_apr, drawdown = map(_percent, (found.total_apr, found.grid_apr, found.max_drawdown))
    return "\n".join(
        [
            f"{found.name}: {found.trades} trades ({found.buys} buys, {found.sells} sells), {found.rounds} rounds",
            f"Profit {total}, grid {_money(found.grid_profit)}, fees {_money(found.fees)}",
            f"APR {apr}, grid {grid_apr}; drawdown {drawdown}",
        ]
    )


def balance_text(view: StatusView) -> str:
    """Quote in the pot and coins in the cells."""
    lines = [f"Pool {_money(view.pool)} {view.quote}: {_money(view.used)} in coins, {_money(view.reserved)} reserved"]
    lines.append(f"Free {_money(view.free)} {view.quote}")
    for symbol in view.symbols:
        coin = symbol.symbol.partition("/")[0]
        lines.append(f"{plain(symbol.base)} {coin}, worth {_money(symbol.inventory_value)} {view.quote}")
    return "\n".join(lines)


def allocation_text(view: StatusView) -> str:
    """How the pot is shared."""
    rows = [
        f"{one.symbol}: {_money(one.committed)} of {_money(one.allocated)} ({_percent(one.usage)} used)"
        for one in view.symbols
    ]
    return "\n".join([f"Strategy {view.strategy}, pool {_money(view.pool)} {view.quote}", *rows])


def grid_text(symbol: SymbolView) -> str:
    """A symbol's grid and the states of its cells."""
    span = "no grid yet" if symbol.lower is None else f"{plain(symbol.lower)} – {plain(symbol.upper or Decimal(0))}"
    price = "–" if symbol.price is None else plain(symbol.price)
    cells = ", ".join(f"{count} {state.lower()}" for state, count in sorted(symbol.cells.items())) or "–"
    return f"{symbol.symbol} {price}\nGrid {span}\nCells: {cells}\n{symbol.open_orders} orders, {symbol.rounds} rounds"


def why_text(symbol: SymbolView, language: str) -> str:
    """Why cells of a symbol have no order."""
    if not symbol.idle:
        return said(language, "no_idle", symbol=symbol.symbol)
    rows = [f"{count} × {reason}" for reason, count in sorted(symbol.idle.items(), key=lambda one: -one[1])]
    return "\n".join([symbol.symbol, *rows])


def trades_text(fills: Sequence[Fill], language: str) -> str:
    """Fills, newest first."""
    rows = [
        f"{_time(one.at_ms)} {one.symbol} {one.side.value} {plain(one.qty)} at {plain(one.price)}"
        + (f", profit {_money(one.profit)}" if one.side.value == "sell" else "")
        for one in fills
    ]
    return "\n".join(rows) or said(language, "no_trades")


def log_text(lines: Sequence[LogLine], language: str) -> str:
    """Log lines, newest first."""
    rows = [f"{_time(one.at_ms)} {one.level} {one.message}{_fields(one.fields)}" for one in lines]
    return "\n".join(rows) or said(language, "no_log")


def _fields(fields: Mapping[str, str]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())[:200]


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%m-%d %H:%M:%S}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _percent(share: Decimal | None) -> str:
    return "–" if share is None else f"{share * 100:,.1f} %"
