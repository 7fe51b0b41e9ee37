"""Trades: results, profit by day and by symbol, and all fills page by page."""

from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

import streamlit as st

from dashboard import export
from dashboard.charts.profits import daily_profit
from dashboard.connection import NoHistory, reader
from dashboard.present.fills import fills_table, results_table, span_tiles, symbols_table
from dashboard.present.html import el
from dashboard.screens import trade_pages
from dashboard.screens.frame import SLOW_SECONDS, head, now_ms, page, put, quick_seconds, refreshing, zone
from dashboard.source import of_history, status_source
from tasks.base.clock import DAY_MS, utc_now
from tasks.history.database import Database
from tasks.history.queries import FillFilter
from tasks.views import history
from tasks.views.result_models import DayView, ResultsView, SymbolResults

DAYS = 30  # of the charts, where the filters name no days
MOST_DAYS = 366


class _Past(NamedTuple):
    """What a span of days brought."""

    spans: tuple[ResultsView, ...]
    chosen: ResultsView | None
    days: list[DayView]
    symbols: tuple[SymbolResults, ...]


def show() -> None:
    """The screen."""
    page("Trades")
    refreshing(_head, quick_seconds())
    names: list[str] = []
    traded, _ = of_history("traded", SLOW_SECONDS, _traded, names)
    view = status_source().now().view
    now = [symbol.symbol for symbol in view.symbols] if view else []
    trade_pages.filters(sorted({*(traded or ()), *now}))
    refreshing(_results, SLOW_SECONDS)
    refreshing(_fills, quick_seconds())


async def _traded(database: Database) -> list[str]:
    return await history.traded_symbols(database, reader().settings.account)


def _head() -> None:
    head()


def _span(wanted: FillFilter) -> FillFilter:
    """The filter with both its days: the last 30 days up to today, where it names none; at most a year."""
    to_ms = wanted.to_ms or (now_ms() // DAY_MS + 1) * DAY_MS
    from_ms = wanted.from_ms if wanted.from_ms is not None else to_ms - DAYS * DAY_MS
    return wanted.model_copy(update={"from_ms": max(from_ms, to_ms - MOST_DAYS * DAY_MS), "to_ms": to_ms})


async def _past(database: Database, wanted: FillFilter, funds: Decimal) -> _Past:
    """Runs on the reader's loop, so it must not ask the reader itself: it would wait for itself."""
    account = reader().settings.account
    span, now = _span(wanted), utc_now()
    assert span.from_ms is not None
    assert span.to_ms is not None
    return _Past(
        await history.recent_results(database, account, funds, now),
        await history.results(database, account, "chosen", span.from_ms, span.to_ms, funds, span.symbol, span.side),
        await history.days(database, account, span),
        await history.by_symbol(database, account, span),
    )


def _results() -> None:
    wanted, now = trade_pages.wanted(), status_source().now().view
    funds = now.capital if now else reader().settings.total_funds
    nothing = _Past((), None, [], ())
    found, away = of_history(("past", wanted), SLOW_SECONDS - 1, lambda base: _past(base, wanted, funds), nothing)
    if away is not None or found is None:
        put(el("p", "Results and curves come back with the history database.", class_="gf-none"))
        return
    st.subheader("In this span" if wanted.from_ms or wanted.to_ms else f"Last {DAYS} days")
    if found.chosen is not None:
        put(span_tiles(found.chosen))
    if any(day.trades for day in found.days):
        view = status_source().now().view
        quote = view.quote if view else reader().settings.quote
        first, last = found.days[0].day, found.days[-1].day
        alt = f"Grid profit by day from {first} to {last}: {found.days[-1].cumulative:.2f} {quote} in all"
        st.echarts_chart(daily_profit(found.days, quote), height=270, key="daily", alt=alt)
    st.subheader("By symbol")
    put(symbols_table(found.symbols))
    st.subheader("Results")
    put(results_table(found.spans))


def _fills() -> None:
    st.subheader("Fills")
    wanted, place = trade_pages.wanted(), trade_pages.place()
    source = reader()
    nothing = trade_pages.Shown(history.Trades((), 0, None), place)
    try:
        shown = source.past(lambda base: trade_pages.read(base, source.settings.account, place), nothing)
    except NoHistory:
        put(el("p", "Fills come back with the history database.", class_="gf-none"))
        return
    trade_pages.remember(shown)
    download, pages, count = st.columns([1.6, 3, 4], vertical_alignment="center")
    asked = export.query(wanted)
    download.link_button(
        "Download CSV",
        f"{export.PATH}?{urlencode(asked)}" if asked else export.PATH,
        icon=":material/download:",
        width="stretch",
        help="All fills that the filters hold, with exact amounts",
    )
    with pages:
        trade_pages.chooser(shown)
    with count:
        put(el("p", trade_pages.caption(shown), class_="gf-below"))
    put(fills_table(shown.page.fills, zone()))
