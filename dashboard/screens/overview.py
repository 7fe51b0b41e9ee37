"""Overview: what the account is worth and has earned, whether everything works, and a card for each symbol."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import streamlit as st

from dashboard.charts.equity import equity_curve
from dashboard.connection import NoData, prefect_pages, reader
from dashboard.present.html import el, link
from dashboard.present.notices import part_cards
from dashboard.present.overview import ORDERS, account_tiles, chosen, exchange_lines, log_lines, symbol_cards
from dashboard.screens.frame import (
    SLOW_SECONDS,
    aged,
    head,
    now_ms,
    page,
    parts_of,
    put,
    quick_seconds,
    refreshing,
    zone,
)
from dashboard.source import answers, of_history, status_source
from tasks.base.clock import utc_now
from tasks.views import history
from tasks.views.activity import ActivityView, read_activity
from tasks.views.glossary import GLOSSARY
from tasks.views.line_models import EquityPoint
from tasks.views.models import StatusView
from tasks.views.result_models import ResultsView

POINTS = 600
SPANS: Mapping[str, timedelta | None] = {
    "1 d": timedelta(days=1),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
    "all": None,
}
_FILTERS_FROM = 9  # symbols
_SPARK_MS = 86_400_000


def show() -> None:
    """The screen."""
    page("Overview")
    seconds = quick_seconds()
    refreshing(_figures, seconds)
    refreshing(_curve, SLOW_SECONDS)
    refreshing(_health, max(seconds, 5.0))
    refreshing(_symbols, seconds)


def _figures() -> None:
    reading = head()
    if reading.view is not None:
        put(aged(account_tiles(reading.view, _month(reading.view)), reading))


def _month(view: StatusView) -> ResultsView | None:
    nothing: tuple[ResultsView, ...] = ()
    account, funds = reader().settings.account, view.capital
    found, _ = of_history(
        ("results", funds), SLOW_SECONDS, lambda base: history.recent_results(base, account, funds, utc_now()), nothing
    )
    return next((one for one in found or () if one.name == "30 days"), None)


def _curve() -> None:
    view = status_source().now().view
    quote = view.quote if view else reader().settings.quote
    title, control = st.columns([3, 1.3], vertical_alignment="bottom")
    title.subheader(f"Equity, {quote}", help=GLOSSARY["equity"])
    name = control.radio("Time span", list(SPANS), key="span", horizontal=True, bind="query-params") or "1 d"
    points, away = _points(str(name))
    if away is not None or view is None:
        put(el("p", "The curve comes back with the history database.", class_="gf-none"))
        return
    if len(points) < 2:
        put(el("p", "The curve begins with the second point; workers write one each minute.", class_="gf-none"))
        return
    spec = equity_curve(points, view.quote, zone())
    alt = f"Equity over {name}: {points[0].equity:.2f} at first, {points[-1].equity:.2f} {view.quote} now"
    st.echarts_chart(spec, height=260, key="equity", alt=alt)


def _points(name: str) -> tuple[Sequence[EquityPoint], object]:
    """The kept points of the span, and the present moment."""
    span, now, account = SPANS.get(name), now_ms(), reader().settings.account
    start = 0 if span is None else now - int(span.total_seconds() * 1000)
    nothing: tuple[EquityPoint, ...] = ()
    found, away = of_history(
        ("curve", name), SLOW_SECONDS, lambda base: history.curve(base, account, POINTS, now, start), nothing
    )
    view = status_source().now().view
    points = [point for point in found or () if point.at_ms >= start]
    if view is not None and points:
        points.append(EquityPoint(at_ms=now, equity=view.equity, grid_profit=view.grid_profit, capital=view.capital))
    return points, away


def _activity() -> ActivityView | None:
    source = reader()
    try:
        return answers().get("activity", 4.0, lambda: source.read(lambda redis: read_activity(source.settings, redis)))
    except NoData:
        return None


def _health() -> None:
    st.subheader("Health")
    reading = status_source().now()
    pages = prefect_pages()
    activity = _activity()
    more = {"Prefect": [link("Open the Prefect UI", pages)] if pages else []}
    if activity is not None:
        calls, errors = sum(activity.calls.values()), sum(activity.errors.values())
        more["Workers"] = log_lines(activity.log_today)
        more["Exchange"] = exchange_lines(calls, errors, activity.lowest_budget)
    put(part_cards(parts_of(reading.view, reading), more, now_ms(), zone()))


def _symbols() -> None:
    st.subheader("Symbols")
    reading = status_source().now()
    view = reading.view
    if view is None:
        return
    text, order = "", "Name"
    if len(view.symbols) >= _FILTERS_FROM:
        left, right = st.columns([2, 1])
        text = left.text_input("Find", key="find", placeholder="BTC", bind="query-params")
        order = right.selectbox("Order", list(ORDERS), key="order", bind="query-params") or "Name"
    names = chosen(view.symbols, text, order)
    put(aged(symbol_cards(view, names, _day(), now_ms(), zone(), prefect_pages()), reading))


def _day() -> Mapping[str, Sequence[Decimal]]:
    """Symbol → its prices of the last day, oldest first."""
    account, start = reader().settings.account, now_ms() - _SPARK_MS
    nothing: dict[str, list[tuple[int, Decimal]]] = {}
    found, _ = of_history("sparks", 120.0, lambda base: history.prices(base, account, start), nothing)
    return {symbol: [price for _, price in samples] for symbol, samples in (found or {}).items()}
