"""A report as one HTML file that needs nothing else: no server, no network."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path

from tasks.backtest.report.charts import figures
from tasks.backtest.report.contents import Contents
from tasks.base.errors import ConfigError, Problem
from tasks.ledger.statistics import Statistics

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
"""


def write_report(path: Path, contents: Contents) -> None:
    """Write the report. Raises ConfigError where the file cannot be written or plotly is not installed."""
    page = html(contents)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        rule = f"cannot be written ({error.strerror or error})"
        problem = Problem("--report", str(path), rule, "Name a file in a folder that exists and that you may write to")
        raise ConfigError([problem], "the command line") from None


def html(contents: Contents) -> str:
    """The whole page; plotly's program stands in it once."""
    charts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False})
        for number, figure in enumerate(figures(contents))
    ]
    span = f"{_day(contents.start_ms)} to {_day(contents.end_ms)} UTC"
    parts = [
        f"<h1>{escape(contents.title)}</h1><p>{span}</p>",
        _table(("", ""), _statistics(contents.statistics)),
        *charts,
        "<h2>Months</h2>",
        _table(("month", "change", "share", "grid profit", "fills"), _months(contents)),
        f"<h2>Settings</h2><pre>{escape(contents.settings)}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(contents.title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(_cell, row, range(len(row)))) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str, column: int) -> str:
    """The first column names a row; the others are numbers."""
    return f"<td{' class=number' if column else ''}>{escape(text)}</td>"


def _statistics(found: Statistics) -> list[tuple[str, str]]:
    """Every statistic with its name; those that are not defined with a dash."""
    fall = found.drawdown
    return [
        ("total PnL", _amount(found.total_pnl)),
        ("grid profit", _amount(found.grid_profit)),
        ("floating PnL", _amount(found.floating)),
        ("buy and hold", _amount(found.buy_and_hold)),
        ("total APR", _share(found.total_apr)),
        ("grid APR", _share(found.grid_apr)),
        ("largest drawdown", f"{_share(fall.share)} ({_amount(fall.quote)})"),
        ("Sharpe ratio", _ratio(found.sharpe)),
        ("Sortino ratio", _ratio(found.sortino)),
        ("buys, sells", f"{found.buys:,}, {found.sells:,}"),
        ("rounds", f"{found.rounds:,}"),
        ("rounds that won", _share(found.win_rate)),
        ("profit factor", _ratio(found.profit_factor)),
        ("average time held", "–" if found.average_held_ms is None else f"{found.average_held_ms / 3_600_000:.1f} h"),
        ("volume", _amount(found.volume)),
        ("fees", _amount(found.fees)),
    ]


def _months(contents: Contents) -> list[tuple[str, ...]]:
    return [
        (row.month, _amount(row.change), _share(row.share), _amount(row.grid_profit), f"{row.fills:,}")
        for row in contents.months
    ]


def _amount(amount: Decimal | None) -> str:
    return "–" if amount is None else f"{amount:,.2f}"


def _share(share: Decimal | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _ratio(ratio: Decimal | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
