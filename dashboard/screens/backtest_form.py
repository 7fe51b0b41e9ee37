"""The form of the Backtest screen: candles, money and fees, and the fields of a grid."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import streamlit as st

from dashboard.connection import reader
from dashboard.present.backtest import FormField, grid_fields
from dashboard.present.html import el
from dashboard.screens.frame import put
from dashboard.source import answers
from tasks.backtest.apart import Order
from tasks.backtest.candle_files import load_symbol
from tasks.backtest.shelf import SAMPLE, Shelf
from tasks.base.clock import to_ms
from tasks.base.errors import MarketDataError, Problem
from tasks.settings.environment import state_dir
from tasks.settings.grids import KINDS

_COLUMNS = 4
_SPAN_SECONDS = 60.0
_FIRST = {"range_pct": "0.04"}  # as in the grids of an account without a settings file


class Candles(NamedTuple):
    """What was chosen to play over. `span`: time of the first and the last candle in ms; None: they cannot be read."""

    shelf: Shelf
    symbol: str
    span: tuple[int, int] | None


def chosen_candles(found: Sequence[Shelf]) -> Candles:
    """Draw the choice of a folder and a symbol, and what its files hold."""
    left, right = st.columns(2)
    named = {"the sample" if shelf.folder == SAMPLE else str(shelf.folder): shelf for shelf in found}
    folder = left.selectbox("Candles", list(named), key="bt_folder", help="`gridflow data` fetches and imports them")
    shelf = named[folder]
    symbol = right.selectbox("Symbol", shelf.symbols, key="bt_symbol")
    cache = state_dir() / "candles"

    def facts() -> tuple[int, int, int, int]:
        columns = load_symbol(shelf.folder, symbol, cache)
        return int(columns.at[0]), int(columns.at[-1]), len(columns), columns.missing()

    try:
        first, last, count, missing = answers().get(("candles", shelf.folder, symbol), _SPAN_SECONDS, facts)
    except MarketDataError as error:
        put(el("p", str(error), class_="gf-none"))
        return Candles(shelf, symbol, None)
    lacks = f"; {missing:,} are missing between" if missing else ""
    days = " to ".join(f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}" for ms in (first, last))
    put(el("p", f"{count:,} candles from {days} UTC{lacks}.", class_="gf-below"))
    return Candles(shelf, symbol, (first, last))


def ask(candles: Candles) -> Order | tuple[Problem, ...] | None:
    """Draw the form. What is to be played once it is sent, or what is wrong with it; None before."""
    kind = st.radio("Kind of grid", list(KINDS), key="bt_kind", horizontal=True)
    own, limits = grid_fields(kind)
    with st.form("backtest", border=True):
        money, maker, taker, where = st.columns(4)
        fees = reader().settings.exchange
        quote = candles.symbol.partition("/")[2]
        funds = money.text_input(f"Money, {quote}", "10000", key="bt_funds", help="What the account has at the start")
        maker_fee = maker.text_input(
            "Maker fee", str(fees.maker_fee), key="bt_maker", help="as a share: 0.001 is 0.1 %"
        )
        taker_fee = taker.text_input("Taker fee", str(fees.taker_fee), key="bt_taker", help="as a share")
        in_what = where.selectbox("Fee of a buy, in", ["quote", "base"], key="bt_fee_currency")
        since, until = _days(candles)
        grid = {"grid": kind} | _fields(own)
        with st.expander("Stops, limits and placement"):
            grid |= _fields(limits)
        sent = st.form_submit_button("Run the backtest", type="primary", icon=":material/play_arrow:")
    if not sent:
        return None
    if since is not None and until is not None and until < since:
        rule, remedy = f"is before the first day ({since})", "Choose a later day"
        return (Problem("last day", str(until), rule, remedy),)
    return Order(
        folder=candles.shelf.folder,
        symbol=candles.symbol,
        grid=grid,
        funds=funds.strip(),
        maker_fee=maker_fee.strip(),
        taker_fee=taker_fee.strip(),
        fee_currency=in_what,
        start_ms=None if since is None else _midnight_ms(since),
        end_ms=None if until is None else _midnight_ms(until + timedelta(days=1)),
        cache=state_dir() / "candles",
    )


def _days(candles: Candles) -> tuple[date | None, date | None]:
    left, right = st.columns(2)
    bounds: dict[str, Any] = {"value": None, "format": "YYYY-MM-DD", "min_value": date(2010, 1, 1)}
    note = "empty: all candles"
    if candles.span is not None:
        first, last = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in candles.span)
        bounds |= {"min_value": first, "max_value": last}
    # A key for each pair of bounds: a day of other candles must not stay chosen.
    key = f"{candles.shelf.folder}|{candles.symbol}"
    since = left.date_input("First day (UTC)", key=f"bt_from|{key}", help=note, **bounds)
    until = right.date_input("Last day (UTC)", key=f"bt_to|{key}", help=note, **bounds)
    return since, until


def _midnight_ms(day: date) -> int:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _fields(fields: Sequence[FormField]) -> dict[str, str]:
    """Draw fields side by side. Those that were filled in, as text; of a choice those that are not the default."""
    given: dict[str, str] = {}
    places = [place for _ in range(0, len(fields), _COLUMNS) for place in st.columns(_COLUMNS)]
    for place, field in zip(places, fields, strict=False):
        key = f"bt_{field.name}"
        if field.choices:
            value = place.selectbox(field.name, field.choices, key=key, help=field.help)
            if value != field.choices[0]:
                given[field.name] = value
            continue
        first = _FIRST.get(field.name, "")
        text = place.text_input(field.name, first, key=key, help=field.help, placeholder=field.hint).strip()
        if text:
            given[field.name] = text
    return given
