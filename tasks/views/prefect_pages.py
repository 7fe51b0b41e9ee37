"""What the Prefect UI shows of trading: tables and texts of artifacts. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tasks.tick.models import WindowReport
from tasks.views.models import StatusView
from tasks.views.result_models import ResultsView

_NOTHING = "–"


def grid_key(symbol_slug: str) -> str:
    """Key of the artifact of a symbol's windows."""
    return f"grid-{symbol_slug}"


def window_rows(report: WindowReport) -> list[dict[str, str]]:
    """One window as a table of two columns."""
    idle = ", ".join(f"{count} {reason.lower()}" for reason, count in sorted(report.idle.items()))
    values = {
        "Ended because": report.ended,
        "Ticks": f"{report.ticks}" + (f", {report.failed_ticks} failed" if report.failed_ticks else ""),
        "Latest tick": f"{report.late_seconds:.1f} s late",
        "Fills": str(report.fills),
        "Orders placed": str(report.placed),
        "Price": _money(report.price),
        "Grid profit of this window": _money(report.profit),
        "Grid profit so far": _money(report.grid_profit),
        "Floating": _money(report.floating),
        "Idle cells": idle or "none",
        "Failed because": report.why_failed or _NOTHING,
    }
    return [{"What": name, "Value": value} for name, value in values.items()]


def status_rows(view: StatusView) -> list[dict[str, str]]:
    """The account and each symbol as a table."""
    names = ("equity", "profit", "grid", "floating", "fees")
    head = {"Symbol": "all", **dict(zip(names, view.totals(), strict=True))}
    head |= {"allocated": _money(view.allocated), "committed": _money(view.committed), "orders": "", "idle": ""}
    return [_titled(head)] + [
        _titled(
            {
                "Symbol": one.symbol,
                "equity": "",
                "profit": _money(one.equity_change),
                "grid": _money(one.grid_profit),
                "floating": _money(one.floating),
                "fees": _money(one.fees),
                "allocated": _money(one.allocated),
                "committed": _money(one.committed),
                "orders": str(one.open_orders),
                "idle": ", ".join(f"{count} {reason.lower()}" for reason, count in sorted(one.idle.items())),
            }
        )
        for one in view.symbols
    ]


def _titled(row: dict[str, str]) -> dict[str, str]:
    return {name.capitalize(): value for name, value in row.items()}


def status_line(view: StatusView) -> str:
    """The account in one line."""
    equity, profit, grid, floating, fees = view.totals()
    dark = f", dark: {', '.join(one.symbol for one in view.dark)}" if view.dark else ""
    state = "stopped" if view.stopped else "paused" if view.paused else "trading"
    return (
        f"{state}: equity {equity} {view.quote}, profit {profit} (grid {grid}, floating {floating}, fees {fees}), "
        f"committed {view.committed:.2f} of {view.pool:.2f}, {len(view.symbols)} symbols, {view.fills} fills, "
        f"{sum(one.alive for one in view.workers)} workers{dark}"
    )


def daily_report(day: ResultsView, month: ResultsView, view: StatusView) -> str:
    """A day as Markdown. `day`: its results; `month`: those of the thirty days up to its end."""
    spans = (day, month)
    rows: list[tuple[str, Sequence[str]]] = [
        ("Trades", [str(one.trades) for one in spans]),
        ("Rounds", [str(one.rounds) for one in spans]),
        ("Grid profit", [_money(one.grid_profit) for one in spans]),
        ("Total profit", [_money(one.total_pnl) for one in spans]),
        ("Fees", [_money(one.fees) for one in spans]),
        ("Volume", [_money(one.volume) for one in spans]),
        ("Grid APR", [_percent(one.grid_apr) for one in spans]),
        ("Total APR", [_percent(one.total_apr) for one in spans]),
        ("Largest fall", [_percent(one.max_drawdown) for one in spans]),
    ]
    title = f"{datetime.fromtimestamp(day.from_ms / 1000, UTC):%Y-%m-%d}"
    lines = [f"# {title} (UTC)", "", f"Account {view.account}, {view.mode}, in {view.quote}.", ""]
    lines += ["| | day | 30 days |", "|---|---:|---:|", *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)]
    lines += ["", "| symbol | grid profit so far | floating | open orders |", "|---|---:|---:|---:|"]
    lines += [
        f"| {one.symbol} | {_money(one.grid_profit)} | {_money(one.floating)} | {one.open_orders} |"
        for one in view.symbols
    ]
    return "\n".join(lines)


def _money(amount: Decimal | None) -> str:
    return _NOTHING if amount is None else f"{amount:,.2f}"


def _percent(share: Decimal | None) -> str:
    return _NOTHING if share is None else f"{share * 100:.2f} %"


def links(symbol: str | None, dashboard: str | None, pages: str | None, key: str) -> str:
    """The description of an artifact: what it is, with links. `pages`: URL of the Prefect UI."""
    parts = [f"{symbol or 'The account'}, a version a run."]
    if dashboard:
        parts.append(f"[Dashboard]({dashboard})")
    if pages:
        parts.append(f"[All versions]({pages}/artifacts/key/{key})")
    return " ".join(parts)
