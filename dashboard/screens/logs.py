"""Logs: what operators did, and the newest records of all workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.connection import reader
from dashboard.present import action_rows, log_rows, matching
from dashboard.screens import columns
from dashboard.screens.frame import header, of_history, refreshing, table
from tasks.base.redis_client import RedisClient
from tasks.views import history, store
from tasks.views.models import LogLine, StatusView
from tasks.views.steps import read_status

SHOWN = 300
SEARCHED = 2000
ACTIONS = 100
ALL = "All levels"
LEVELS = (ALL, "INFO", "WARNING", "ERROR", "CRITICAL")

LOG_COLUMNS = {
    "time": columns.time(),
    "level": columns.text("Level", 80),
    "source": columns.text("Source", 80),
    "message": columns.text("Message", 320),
    "fields": columns.text("Fields", 520),
    "logger": columns.text("Logger", 160),
}
ACTION_COLUMNS = {
    "time": columns.time(),
    "actor": columns.text("By", 90, "cli: a command; dashboard; prefect: a flow run"),
    "action": columns.text("Action", 110),
    "subject": columns.text("Of", 200, "empty: the whole pot"),
    "result": columns.text("Result", 420),
}


@dataclass(frozen=True)
class _Data:
    status: StatusView
    lines: Sequence[LogLine]


def show() -> None:
    """The screen."""
    st.title("Logs")
    refreshing(_draw)


def _read(level: str | None, limit: int) -> _Data:
    source = reader()

    async def ask(redis: RedisClient) -> _Data:
        status = await read_status(source.settings, redis)
        return _Data(status, await store.logs(redis, source.keys, limit, None if level == ALL else level))

    return source.read(ask)


def _draw() -> None:
    text = str(st.session_state.get("log_text") or "")
    data = _read(st.session_state.get("log_level", ALL), SEARCHED if text else SHOWN)
    header(data.status)
    left, middle, right = st.columns([1.2, 3, 3], vertical_alignment="bottom")
    left.selectbox("Level", LEVELS, key="log_level")
    middle.text_input("Contains", key="log_text", placeholder="symbol, message, field …")
    found = matching(data.lines, text)[:SHOWN]
    right.caption(f"{len(found):,} records, newest first" + (f", among the newest {SEARCHED:,}" if text else ""))
    table(log_rows(found), LOG_COLUMNS, empty="Nothing to show.", key="log", lines=20)
    st.subheader("What operators did")
    done = of_history(lambda database: history.actions(database, reader().settings.account, ACTIONS)) or ()
    table(action_rows(done), ACTION_COLUMNS, empty="Nothing so far.", key="actions", lines=10)
