"""Allocation: how the pot is shared and used, what a rebalance moves, and which orders were refused."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import streamlit as st

from dashboard.charts.shares import largest, past_shares, shares, shares_height
from dashboard.connection import NoData, reader
from dashboard.present.html import el
from dashboard.present.notices import notice
from dashboard.present.shares import (
    blocked_table,
    following,
    moves_table,
    pot_tiles,
    rebalances_table,
    refusals_table,
    shares_table,
)
from dashboard.screens.frame import SLOW_SECONDS, aged, head, now_ms, page, put, quick_seconds, refreshing, zone
from dashboard.screens.rebalancing import rebalance_panel
from dashboard.source import answers, of_history, status_source
from tasks.base.redis_client import RedisClient
from tasks.funds.models import RebalanceReport
from tasks.history.database import Database
from tasks.views import history, store
from tasks.views.line_models import BlockedView
from tasks.views.rebalance_preview import planned_rebalance
from tasks.views.rules import unfollowed

REBALANCES = 40
REFUSALS = 100
BARS = 20
_PLAN_SECONDS = 4.0


class _Present(NamedTuple):
    """What Redis holds beside the status."""

    plan: RebalanceReport
    done: int
    blocked: Mapping[tuple[str, str], int]


class _Past(NamedTuple):
    """What the history holds."""

    rebalances: Sequence[RebalanceReport]
    refusals: Sequence[BlockedView]


def show() -> None:
    """The screen."""
    page("Allocation")
    refreshing(_pot, quick_seconds())
    refreshing(_history, SLOW_SECONDS / 3)


def _present() -> _Present | None:
    source = reader()

    async def ask(redis: RedisClient) -> _Present:
        plan = await planned_rebalance(source.settings, redis)
        return _Present(plan, *await store.counters(redis, source.keys))

    try:
        return answers().get("present", _PLAN_SECONDS, lambda: source.read(ask))
    except NoData:
        found: _Present | None = answers().last("present")
        return found


def _pot() -> None:
    reading = head()
    view, present = reading.view, _present()
    if view is None:
        return
    put(aged(pot_tiles(view), reading))
    title, button = st.columns([4, 1.4], vertical_alignment="bottom")
    title.subheader(f"Shares of the pot, {view.quote}")
    rebalance_panel(button)
    lines = following(unfollowed(view))
    if lines:
        put(notice(lines, "info"))
    targets = {one.symbol: one.target for one in present.plan.changes} if present else {}
    put(aged(shares_table(view, targets), reading))
    st.subheader("What a rebalance would move now")
    if present is not None:
        empty = f"Nothing: {present.plan.outcome}."
        put(aged(moves_table("What a rebalance would move now", present.plan.changes, empty), reading))


def _history() -> None:
    view, present = status_source().now().view, _present()
    account = reader().settings.account

    async def ask(base: Database) -> _Past:
        reports = await history.rebalances(base, account, REBALANCES)
        return _Past(reports, await history.blocked(base, account, REFUSALS))

    found, _ = of_history("rebalances", SLOW_SECONDS / 3 - 1, ask, _Past((), ()))
    if view is not None and view.symbols:
        names = largest(view, BARS)
        st.subheader("Used, reserved and free" + (f" of the {BARS} largest" if len(view.symbols) > BARS else ""))
        alt = f"Used, reserved and free of {len(names)} symbols; the table above has the figures"
        st.echarts_chart(shares(view, names), height=shares_height(len(names)), key="shares", alt=alt)
    st.subheader("Allocations after each rebalance")
    if found is None:
        put(el("p", "Past rebalances and refusals come back with the history database.", class_="gf-none"))
    else:
        if view is not None and found.rebalances:
            spec = past_shares(found.rebalances, view, now_ms(), zone())
            alt = f"Allocations after the newest {len(found.rebalances)} rebalances; the table below has the figures"
            st.echarts_chart(spec, height=280, key="past-shares", alt=alt)
        done = f"{present.done:,} applied so far; the newest {len(found.rebalances)} below." if present else ""
        put(el("p", done, class_="gf-below"))
        put(rebalances_table(found.rebalances, zone()))
    st.subheader("Blocked trades")
    put(el("p", "Orders that the pot refused to fund, by reason, and the newest of them.", class_="gf-below"))
    left, right = st.columns(2)
    with left:
        put(blocked_table(present.blocked if present else {}))
    with right:
        put(refusals_table(found.refusals if found else (), zone()))
