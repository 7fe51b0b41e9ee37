"""Grid: a symbol's candles with its levels, orders and fills, and its cells with why each idle one is idle."""

from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st

from dashboard.charts.candles import candles
from dashboard.connection import NoData, prefect_pages, reader
from dashboard.present.html import el
from dashboard.present.ladder import grid_digits, grid_tiles, ladder, symbol_whys
from dashboard.present.runs import run_link
from dashboard.screens.frame import QUICK_SECONDS, aged, head, now_ms, page, put, refreshing, zone
from dashboard.source import answers, of_history, status_source
from tasks.views import history
from tasks.views.grid import GridView, read_grid
from tasks.views.models import SymbolView

FILLS = 400
_CHART_SECONDS = 5.0


class Span(NamedTuple):
    """How far back, and how long a bar is, in ms."""

    ms: int
    bar_ms: int


SPANS: Mapping[str, Span] = {
    "3 h": Span(3 * 3_600_000, 60_000),
    "1 d": Span(86_400_000, 600_000),
    "7 d": Span(7 * 86_400_000, 3_600_000),
    "30 d": Span(30 * 86_400_000, 4 * 3_600_000),
}


def show() -> None:
    """The screen."""
    page("Grid")
    view = status_source().now().view
    names = [symbol.symbol for symbol in view.symbols] if view else list(reader().settings.symbols)
    left, middle, right = st.columns([2, 2, 1.4], vertical_alignment="bottom")
    left.selectbox("Symbol", names, key="market", bind="query-params")
    middle.radio("Time span", list(SPANS), key="prices", horizontal=True, bind="query-params")
    right.toggle("Whole grid", key="whole", bind="query-params", help="Show every level, not only those near the price")
    refreshing(_figures, QUICK_SECONDS)
    refreshing(_chart, _CHART_SECONDS)
    refreshing(_ladder, QUICK_SECONDS)


def _symbol() -> SymbolView | None:
    view, name = status_source().now().view, st.session_state.get("market")
    return next((one for one in view.symbols if one.symbol == name), None) if view else None


def _grid(symbol: str) -> GridView | None:
    """The symbol's ladder; the last one while Redis does not answer."""
    source = reader()
    try:
        return answers().get(
            ("grid", symbol), 1.0, lambda: source.read(lambda redis: read_grid(redis, source.settings.account, symbol))
        )
    except NoData:
        found: GridView | None = answers().last(("grid", symbol))
        return found


def _figures() -> None:
    reading, symbol = head(), _symbol()
    grid = _grid(symbol.symbol) if symbol else None
    if reading.view is not None and symbol is not None and grid is not None:
        run = run_link(symbol.flow_run, prefect_pages(), "the flow run that ticks it")
        put(aged([grid_tiles(reading.view, symbol, grid), el("p", run, class_="gf-below")], reading))


def _chart() -> None:
    st.subheader("Prices, orders and fills")
    symbol = _symbol()
    grid = _grid(symbol.symbol) if symbol else None
    if symbol is None or grid is None:
        return
    name = str(st.session_state.get("prices") or "3 h")
    span, account = SPANS.get(name, SPANS["3 h"]), reader().settings.account
    start = now_ms() - span.ms
    found, away = of_history(
        ("bars", symbol.symbol, name),
        _CHART_SECONDS - 1,
        lambda base: history.bars(base, account, symbol.symbol, start, span.bar_ms, symbol.samples, FILLS),
        history.without_history(symbol.samples, start, span.bar_ms),
    )
    if away is not None or found is None:
        found = history.without_history(symbol.samples, start, span.bar_ms)
        put(
            el(
                "p",
                "Only the last ticks: older prices and fills come back with the history database.",
                class_="gf-none",
            )
        )
    if not found.bars:
        put(el("p", "No prices yet: they begin with the first tick.", class_="gf-none"))
        return
    whole = bool(st.session_state.get("whole"))
    spec = candles(found.bars, found.fills, grid, digits=grid_digits(grid), zone=zone(), whole_grid=whole)
    alt = f"Prices of {symbol.symbol} over {name}, with {len(grid.levels)} levels and {len(found.fills)} fills"
    st.echarts_chart(spec, height=460, key=f"candles-{symbol.symbol}", alt=alt)
    put(
        el(
            "p",
            "Bars of the prices that ticks saw and fills had. Dashed: open orders. Dotted: levels.",
            class_="gf-below",
        )
    )


def _ladder() -> None:
    st.subheader("Cells")
    symbol, reading = _symbol(), status_source().now()
    grid = _grid(symbol.symbol) if symbol else None
    if symbol is not None and grid is not None:
        put(aged(symbol_whys(symbol), reading))
        put(aged(ladder(grid), reading))
