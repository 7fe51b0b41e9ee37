"""Allocation: how the pot is shared and used, what was refused, and a rebalance at the press of a button."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard import charts
from dashboard.connection import reader
from dashboard.present import blocked_rows, escaped, rebalance_rows, refusal_rows, share_parts, share_rows
from dashboard.screens import columns
from dashboard.screens.frame import header, of_history, refreshing, table
from dashboard.screens.rebalancing import rebalance_panel
from dashboard.tables import NUMBER, TEXT, WHOLE, arrow_table
from tasks.base.redis_client import RedisClient
from tasks.funds.models import RebalanceReport
from tasks.history.database import Database
from tasks.views import history, store
from tasks.views.glossary import GLOSSARY
from tasks.views.models import BlockedView, StatusView
from tasks.views.rules import unfollowed
from tasks.views.steps import read_status

REBALANCES = 20
REFUSALS = 100
BARS = 30

SHARE_COLUMNS = {
    "symbol": columns.text("Symbol", 110),
    "state": columns.text(
        "State",
        80,
        "dark: nobody ticks it; paused: no new buys; stopped: no orders at all; "
        "retiring: left the settings and sells what it holds; left: holds nothing any more",
    ),
    "allocated": columns.money("Allocated", "the most it may commit"),
    "cap": columns.money("Cap", "the most it may be allocated"),
    "used": columns.money("Used", "cost of what is held"),
    "reserved": columns.money("Reserved", "held for open buy orders"),
    "committed": columns.money("Committed", "used + reserved"),
    "free": columns.money("Free"),
    "to_resize": columns.whole("To resize", "resting buys whose size is still to follow the allocation"),
    "usage": columns.share("Committed share", GLOSSARY["committed share"]),
}
REBALANCE_COLUMNS = {
    "time": columns.time(),
    "version": columns.whole("Version"),
    "reason": columns.text("Reason", 110),
    "strategy": columns.text("Strategy", 90),
    "symbol": columns.text("Symbol", 110),
    "before": columns.money("Before"),
    "target": columns.money("Target", "where the rule wants it; a scheduled dynamic rebalance goes a part of the way"),
    "after": columns.money("After"),
    "change": columns.money("Change"),
    "committed": columns.money("Committed then"),
}
BLOCKED_COLUMNS = {
    "symbol": columns.text("Symbol", 110),
    "reason": columns.text("Reason", 150),
    "count": columns.whole("Refused"),
}
REFUSAL_COLUMNS = {
    "time": columns.time(),
    "symbol": columns.text("Symbol", 110),
    "reason": columns.text("Reason", 130),
    "amount": columns.money("Amount"),
    "order": columns.text("Order id"),
}


@dataclass(frozen=True)
class _Data:
    status: StatusView
    done: int
    blocked: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class _Filed:
    """What the history holds."""

    rebalances: Sequence[RebalanceReport]
    refusals: Sequence[BlockedView]


def show() -> None:
    """The screen."""
    st.title("Allocation")
    refreshing(_draw)


def _read() -> _Data:
    source = reader()

    async def ask(redis: RedisClient) -> _Data:
        status = await read_status(source.settings, redis)
        return _Data(status, *await store.counters(redis, source.keys))

    return source.read(ask)


async def _read_history(database: Database) -> _Filed:
    account = reader().settings.account
    reports = await history.rebalances(database, account, REBALANCES)
    return _Filed(reports, await history.blocked(database, account, REFUSALS))


def _draw() -> None:
    data = _read()
    header(data.status)
    _shares(data)
    filed = of_history(_read_history) or _Filed((), ())
    _rebalances(data, filed)
    _blocked(data, filed)


def _shares(data: _Data) -> None:
    status = data.status
    title, button = st.columns([5, 1.4], vertical_alignment="bottom")
    title.subheader("Shares of the pot")
    rebalance_panel(button)
    following = unfollowed(status)
    if following:
        lines = "  \n".join(escaped(f"{symbol}: {why}") for symbol, why in following.items())
        st.info(f"**The allocations are being followed.**  \n{lines}", icon=":material/sync:")
    st.caption(
        escaped(
            f"Strategy: {status.strategy} · pool {status.pool:,.2f} {status.quote} · "
            f"allocated {status.allocated:,.2f} · "
            f"free {status.free:,.2f} · most ever committed {status.max_committed:,.2f} · "
            f"limits version {status.limits_version}"
        )
    )
    parts = share_parts(status, BARS)
    if parts:
        kinds = {"symbol": TEXT, "part": TEXT, "amount": NUMBER, "order": WHOLE}
        spec = charts.shares(status.quote, len(parts) // 3)
        st.vega_lite_chart(arrow_table(parts, kinds), spec, width="stretch", key="shares-chart")
    table(share_rows(status), SHARE_COLUMNS, empty="No symbols yet.", key="shares")


def _rebalances(data: _Data, filed: _Filed) -> None:
    st.subheader("Rebalances")
    st.caption(f"{data.done:,} applied so far; the newest {len(filed.rebalances)} below")
    table(rebalance_rows(filed.rebalances), REBALANCE_COLUMNS, empty="None yet.", key="rebalances", lines=12)


def _blocked(data: _Data, filed: _Filed) -> None:
    st.subheader("Blocked trades")
    st.caption("Orders the pot refused to fund, by reason, and the newest of them")
    left, right = st.columns([2, 3])
    with left:
        table(blocked_rows(data.blocked), BLOCKED_COLUMNS, empty="None so far.", key="blocked", lines=10)
    with right:
        table(refusal_rows(filed.refusals), REFUSAL_COLUMNS, empty="", key="refusals", lines=10)
