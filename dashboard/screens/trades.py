"""Trades: the newest fills, what each symbol has earned, and the equity curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st

from dashboard import charts, export
from dashboard.connection import reader
from dashboard.present import curve_rows, fill_rows, symbol_rows
from dashboard.screens import columns
from dashboard.screens.frame import header, now_ms, refreshing, table
from dashboard.tables import NUMBER, TIME, arrow_table
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Fill
from tasks.views import store
from tasks.views.models import EquityPoint, StatusView
from tasks.views.steps import read_status

SHOWN = 200
CURVE_POINTS = 2000
ALL = "All symbols"

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


@dataclass(frozen=True)
class _Data:
    status: StatusView
    fills: Sequence[Fill]
    curve: Sequence[EquityPoint]


def show() -> None:
    """The screen."""
    st.title("Trades")
    refreshing(_draw)


def _read(chosen: str | None) -> _Data:
    source = reader()

    async def ask(redis: RedisClient) -> _Data:
        status = await read_status(source.settings, redis)
        names = [symbol.symbol for symbol in status.symbols if chosen in (None, ALL, symbol.symbol)]
        fills = await store.recent_fills(redis, source.keys, names, SHOWN)
        return _Data(status, fills, await store.equity_curve(redis, source.keys, CURVE_POINTS))

    return source.read(ask)


def _draw() -> None:
    data = _read(st.session_state.get("trades_symbol"))
    header(data.status)
    _curve(data)
    st.subheader("Profit per symbol")
    table(symbol_rows(data.status, now_ms()), SYMBOL_COLUMNS, empty="No symbols yet.", key="symbols")
    st.subheader("Newest fills")
    names = [symbol.symbol for symbol in data.status.symbols]
    # The table shows its own buttons above its right end, so ours stand on the left.
    choice, download, count = st.columns([2, 1.4, 5], vertical_alignment="bottom")
    chosen = choice.selectbox("Symbol", [ALL, *names], key="trades_symbol")
    count.caption(_counted(data, chosen))
    download.link_button(
        "Download CSV",
        export.PATH if chosen in (None, ALL) else f"{export.PATH}?{urlencode({'symbol': chosen})}",
        icon=":material/download:",
        width="stretch",
        help=f"The newest {export.LIMIT:,} fills with exact amounts",
    )
    table(fill_rows(data.fills), FILL_COLUMNS, empty="No fills yet.", key="fills")


def _counted(data: _Data, chosen: str | None) -> str:
    booked = sum(symbol.fills for symbol in data.status.symbols if chosen in (None, ALL, symbol.symbol))
    shown = len(data.fills)
    buys = sum(fill.side.value == "buy" for fill in data.fills)
    return f"{booked:,} fills booked; the newest {shown:,} below: {buys:,} buys, {shown - buys:,} sells"


def _curve(data: _Data) -> None:
    st.subheader("Equity")
    if not data.curve:
        st.caption("No point of the curve has been written yet; each window writes one.")
        return
    now = now_ms()
    rows = curve_rows(data.curve, data.status, now)
    points = arrow_table(rows, {"time": TIME, "equity": NUMBER, "grid": NUMBER})
    st.vega_lite_chart(
        points,
        charts.equity_curve(data.status.quote, now - data.curve[0].at_ms, len(rows)),
        width="stretch",
        key="curve",
    )
