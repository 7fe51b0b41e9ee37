"""Logs: the newest records of all workers or of one file, and what operators did."""

from collections.abc import Sequence

import streamlit as st

from dashboard.connection import NoData, prefect_pages, reader
from dashboard.present.html import el
from dashboard.present.log_lines import actions_table, at_least, lines_table, matching
from dashboard.screens.frame import (
    QUICK_SECONDS,
    SLOW_SECONDS,
    head,
    options,
    page,
    put,
    quick_seconds,
    refreshing,
    zone,
)
from dashboard.source import answers, of_history
from tasks.settings.environment import state_dir
from tasks.views import history, log_files, store
from tasks.views.line_models import ActionView, LogLine

SHOWN = 200
SEARCHED = 5000
ACTIONS = 100
ALL = "All levels"
LEVELS = (ALL, "INFO", "WARNING", "ERROR", "CRITICAL")
LIVE = "All workers, live"
_FILE_SECONDS = 5.0


def show() -> None:
    """The screen."""
    page("Logs")
    refreshing(_head, quick_seconds())
    level, text, file = st.columns([1.2, 2.4, 1.8])
    level.selectbox("Level and above", LEVELS, key="level", bind="query-params")
    text.text_input("Contains", key="text", placeholder="symbol, message, field …", bind="query-params")
    names = options(log_files.log_files(state_dir()), "file", LIVE)
    file.selectbox("Source", names, key="file", bind="query-params", help="Files of this machine's state folder")
    refreshing(_lines, QUICK_SECONDS)
    st.subheader("What operators did")
    refreshing(_actions, SLOW_SECONDS / 3)


def _head() -> None:
    head()


def _lines() -> None:
    memory = st.session_state
    level = str(memory.get("level") or ALL)
    text, name = str(memory.get("text") or ""), str(memory.get("file") or LIVE)
    searching = bool(text) or level != ALL
    try:
        lines = _live(SEARCHED if searching else SHOWN) if name == LIVE else _of_file(name)
    except NoData:
        put(
            el(
                "p",
                "The live log comes back with Redis. The files of this machine can be chosen above.",
                class_="gf-none",
            )
        )
        return
    except LookupError:
        put(el("p", "That file is gone.", class_="gf-none"))
        return
    found = matching(at_least(lines, None if level == ALL else level), text)
    among = f", among the newest {len(lines):,}" if searching else ""
    count = f"{len(found):,} records" + (f", the newest {SHOWN} shown" if len(found) > SHOWN else ", newest first")
    put([el("p", count + among, class_="gf-below"), lines_table(found[:SHOWN], zone())])


def _live(limit: int) -> Sequence[LogLine]:
    source = reader()
    return answers().get(("log", limit), 1.0, lambda: source.read(lambda redis: store.logs(redis, source.keys, limit)))


def _of_file(name: str) -> Sequence[LogLine]:
    return answers().get(("file", name), _FILE_SECONDS, lambda: log_files.file_lines(state_dir(), name))


def _actions() -> None:
    nothing: tuple[ActionView, ...] = ()
    account = reader().settings.account
    done, away = of_history("actions", 4.0, lambda base: history.actions(base, account, ACTIONS), nothing)
    if away is not None:
        put(el("p", "What operators did comes back with the history database.", class_="gf-none"))
    else:
        put(actions_table(done or (), zone(), prefect_pages()))
