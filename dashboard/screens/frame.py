"""Parts of every screen: automatic refresh, an error while Redis is away, the account's header, tables."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

from dashboard.connection import NoData, NoHistory, reader
from dashboard.present import (
    Row,
    base_text,
    breaker_text,
    dark_text,
    escaped,
    failure_text,
    money,
    percent,
    signed,
    tick_ages,
)
from dashboard.tables import arrow_table
from tasks.history.database import Database
from tasks.views.models import StatusView
from tasks.views.rules import history_notes

T = TypeVar("T")
REFRESH_SECONDS = 2
_LINE_PIXELS = 35  # of a table


def refreshing(draw: Callable[[], None]) -> None:
    """Draw now and every two seconds. Without data, show an error in its place."""

    @st.fragment(run_every=REFRESH_SECONDS)
    def part() -> None:
        try:
            draw()
        except NoData as error:
            st.error(f"**No data.** {escaped(str(error))}", icon=":material/cloud_off:")
            st.caption("This page tries again every two seconds.")

    part()


def of_history(query: Callable[[Database], Awaitable[T]]) -> T | None:
    """The answer of the history. Where it does not answer, None and a warning in its place: the rest of the screen
    shows what is true now.
    """
    try:
        return reader().history(query)
    except NoHistory as error:
        st.warning(f"**No history.** {escaped(str(error))}", icon=":material/history_toggle_off:")
        return None


def now_ms() -> int:
    """The present moment, ms since the epoch."""
    return int(time.time() * 1000)


def header(view: StatusView) -> None:
    """Mode and flags, the account's totals, and how fresh they are."""
    now = now_ms()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _badges(view)
    cards = st.columns(6)
    gain = f"{signed(view.equity_change / view.total_funds * 100)} %"
    cards[0].metric(f"Equity ({view.quote})", money(view.equity), gain, border=True, height="stretch")
    for card, (label, amount) in zip(
        cards[1:5],
        (
            ("Profit", view.equity_change),
            ("Grid profit", view.grid_profit),
            ("Floating", view.floating),
            ("Fees", view.fees),
        ),
        strict=True,
    ):
        card.metric(label, money(amount), border=True, height="stretch")
    used = f"{percent(view.committed, view.pool)} of {money(view.pool)}"
    cards[5].metric("Committed / pool", money(view.committed), used, **_PLAIN_DELTA, border=True, height="stretch")
    st.caption(f"Last tick: {escaped(tick_ages(view, now))}" if view.symbols else "No symbols yet")
    if view.short:
        text = (
            f"The exchange holds {money(view.short)} {view.quote} less than the pot promises: no new buys are granted."
        )
        st.error(escaped(text), icon=":material/account_balance_wallet:")
    for note in history_notes(view.history):
        st.warning(escaped(note), icon=":material/history:")
    lacking = base_text(view)
    if lacking:
        st.error(escaped(lacking), icon=":material/account_balance_wallet:")
    trouble = breaker_text(view)
    if trouble:
        st.error(escaped(trouble), icon=":material/electrical_services:")
    failed = failure_text(view)
    if failed:
        st.error(escaped(failed), icon=":material/error:")
    dark = dark_text(view)
    if dark:
        st.error(escaped(f"Nobody ticks {dark}"), icon=":material/timer_off:")


_PLAIN_DELTA = {"delta_color": "off", "delta_arrow": "off"}


def _badges(view: StatusView) -> None:
    live = view.mode == "live"
    st.badge("LIVE" if live else "PAPER", color="red" if live else "blue", icon=":material/account_balance:")
    if view.stopped:
        st.badge("Stopped", color="red", icon=":material/stop_circle:")
    elif view.paused:
        st.badge("Paused", color="orange", icon=":material/pause_circle:")
    elif not view.dark:
        st.badge("Trading", color="green", icon=":material/play_circle:")
    if view.dark:
        text = f"{len(view.dark)} of {len(view.symbols)} symbol(s) dark"
        st.badge(text, color="red", icon=":material/timer_off:")
    paused = [symbol.symbol for symbol in view.symbols if symbol.paused]
    if paused:
        st.badge(escaped(f"{len(paused)} symbol(s) paused"), color="orange")
    source = f"orders on {reader().settings.exchange.id}" if live else f"prices {view.prices}"
    st.caption(escaped(f"account {view.account} · {source}"))


def table(
    rows: Sequence[Row],
    columns: Mapping[str, tuple[Any, Any]],
    *,
    empty: str,
    key: str,
    lines: int = 20,
) -> None:
    """The rows as a table of at most `lines` lines, or the line `empty`; more rows scroll.

    Columns: name → (Arrow type, Streamlit column).
    """
    if not rows:
        st.caption(empty)
        return
    st.dataframe(
        arrow_table(rows, {name: kind for name, (kind, _) in columns.items()}),
        column_config={name: shown for name, (_, shown) in columns.items()},
        hide_index=True,
        height=_LINE_PIXELS * (lines + 1) if len(rows) > lines else "content",
        placeholder="",
        lazy=False,  # looking whether it could be lazy would import pandas
        key=key,
    )
