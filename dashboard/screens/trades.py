"""Trades: all fills page by page, what each symbol has earned, and the equity curve from the beginning."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st

from dashboard import charts, export
from dashboard.connection import reader
from dashboard.present import Row, curve_rows, fill_rows, result_rows, symbol_rows
from dashboard.screens import columns, trade_pages
from dashboard.screens.frame import header, now_ms, of_history, refreshing, table
from dashboard.tables import NUMBER, TIME, arrow_table
from tasks.base.clock import utc_now
from tasks.history.database import Database
from tasks.views import history
from tasks.views.models import EquityPoint, StatusView
from tasks.views.steps import read_status

CURVE_POINTS = 2000

FILL_COLUMNS = {
    "time": columns.time(),
    "symbol": columns.text("Symbol", 110),
    "side": columns.text("Side", 60),
    "price": columns.exact("Price"),
    "qty": columns.exact("Quantity", "in base currency"),
    "quote": columns.money("Value", "price × quantity, in quote currency"),
    "fee": columns.small_money("Fee", "worth in quote currency at the fill"),
    "profit": columns.small_money("Profit", "of a sell, after all fees of its round"),
    "maker": columns.flag("Maker", "the order rested in the book"),
    "order": columns.text("Order id", 230),
}
SYMBOL_COLUMNS = {
    "symbol": columns.text("Symbol", 110),
    "price": columns.exact("Price"),
    "fills": columns.whole("Fills"),
    "rounds": columns.whole("Rounds", "buys sold again with their cell"),
    "profit": columns.money("Profit", "grid profit + floating"),
    "grid": columns.money("Grid profit", "of closed rounds, after fees"),
    "floating": columns.money("Floating", "of what is held now"),
    "fees": columns.money("Fees"),
    "orders": columns.whole("Open orders"),
    "cells": columns.text("Cells", 220),
    "idle": columns.text("Idle because", 220),
    "age": columns.seconds("Last tick", "how long ago"),
}
RESULT_COLUMNS = {
    "name": columns.text("Time span (UTC)", 130),
    "trades": columns.whole("Fills"),
    "rounds": columns.whole("Rounds"),
    "win_rate": columns.percent("Win rate", "rounds with a profit"),
    "grid": columns.money("Grid profit"),
    "total": columns.money("Total", "change of the equity"),
    "fees": columns.money("Fees"),
    "drawdown": columns.percent("Max drawdown", "largest fall of the equity from a peak"),
    "grid_apr": columns.percent("Grid APR", "grid profit a year, on the capital"),
    "total_apr": columns.percent("Total APR", "change of the equity a year, on the capital"),
    "held": columns.percent("Buy and hold", "what the same capital would have earned without trading"),
}


@dataclass(frozen=True)
class _Filed:
    """What the history holds."""

    rows: Sequence[Row]
    curve: Sequence[EquityPoint]
    shown: trade_pages.Shown
    symbols: list[str]


def show() -> None:
    """The screen."""
    st.title("Trades")
    refreshing(_draw)


def _draw() -> None:
    source = reader()
    status = source.read(lambda redis: read_status(source.settings, redis))
    header(status)
    place = trade_pages.place()
    filed = of_history(lambda database: _read(database, status, place))
    if filed is not None:
        trade_pages.remember(filed.shown)
        _curve(status, filed)
        st.subheader("Results")
        table(filed.rows, RESULT_COLUMNS, empty="", key="results")
    st.subheader("Profit per symbol")
    table(symbol_rows(status, now_ms()), SYMBOL_COLUMNS, empty="No symbols yet.", key="symbols")
    if filed is not None:
        _fills(status, filed)


async def _read(database: Database, status: StatusView, place: trade_pages.Place) -> _Filed:
    """The results, the curve, and the page of fills that was asked for."""
    account, now = reader().settings.account, utc_now()
    results = await history.recent_results(database, account, status.total_funds, now)
    points = await history.curve(database, account, CURVE_POINTS, now_ms())
    shown = await trade_pages.read(database, account, place)
    return _Filed(result_rows(results), points, shown, await history.traded_symbols(database, account))


def _fills(status: StatusView, filed: _Filed) -> None:
    st.subheader("Fills")
    symbols = sorted({*filed.symbols, *(symbol.symbol for symbol in status.symbols)})
    trade_pages.filters(symbols)
    wanted = trade_pages.wanted()
    # The table shows its own buttons above its right end, so ours stand on the left.
    download, pages, count = st.columns([1.4, 3, 4], vertical_alignment="bottom")
    asked = export.query(wanted)
    download.link_button(
        "Download CSV",
        f"{export.PATH}?{urlencode(asked)}" if asked else export.PATH,
        icon=":material/download:",
        width="stretch",
        help="All fills that the filters hold, with exact amounts",
    )
    with pages:
        trade_pages.chooser(filed.shown)
    count.caption(trade_pages.caption(filed.shown))
    table(fill_rows(filed.shown.page.fills), FILL_COLUMNS, empty="No fills.", key="fills")


def _curve(status: StatusView, filed: _Filed) -> None:
    st.subheader("Equity")
    if not filed.curve:
        st.caption("No point of the curve has been written yet; workers write one a minute.")
        return
    now = now_ms()
    rows = curve_rows(filed.curve, status, now)
    points = arrow_table(rows, {"time": TIME, "equity": NUMBER, "grid": NUMBER})
    st.vega_lite_chart(
        points,
        charts.equity_curve(status.quote, now - filed.curve[0].at_ms, len(rows)),
        width="stretch",
        key="curve",
    )
