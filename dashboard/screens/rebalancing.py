"""The "Rebalance now" button: starts the Prefect run, follows it to its end, and shows what it moved."""

import logging
from contextlib import suppress
from typing import Any

import streamlit as st

from dashboard.connection import NoData, prefect, reader
from dashboard.present.html import Html, el, html, link
from dashboard.present.notices import notice
from dashboard.present.shares import moves_table
from dashboard.screens.frame import put
from tasks.base.errors import GridflowError, StackError
from tasks.control.actions import Actor, record
from tasks.control.prefect_runs import FlowRun
from tasks.control.runs import start_rebalance
from tasks.funds.models import RebalanceReport
from tasks.views import store

log = logging.getLogger("dashboard.rebalancing")
_RUN, _ERROR, _STATE, _LINES, _REPORT = (
    "rebalance_run",
    "rebalance_error",
    "rebalance_state",
    "rebalance_lines",
    "rebalance_report",
)


def _start() -> None:
    memory = st.session_state
    for name in (_RUN, _ERROR, _STATE, _LINES, _REPORT):
        memory.pop(name, None)
    try:
        memory[_RUN] = start_rebalance(prefect(), reader().settings.account)
        log.info("rebalance started", extra={"run": memory[_RUN]})
        _record(f"requested as run {memory[_RUN]}")
    except GridflowError as error:
        memory[_ERROR] = str(error)
        log.warning("rebalance could not be started", extra={"error": str(error)})
        _record(f"failed: {error}")


def _record(result: str) -> None:
    source = reader()
    with suppress(NoData):  # the screen says it
        source.read(lambda redis: record(redis, source.keys, Actor.DASHBOARD, "rebalance", (), result))


def _follow() -> FlowRun | None:
    """The run's state: asked for until it has ended, remembered afterwards."""
    memory = st.session_state
    known: FlowRun | None = memory.get(_STATE)
    run_id = memory.get(_RUN)
    if run_id is None or (known is not None and known.ended and memory.get(_LINES)):
        return known
    try:
        memory[_STATE] = known = prefect().state(run_id)
        if known.ended:
            memory[_LINES] = prefect().log(run_id)
            memory[_REPORT] = _newest_report()
        memory.pop(_ERROR, None)
    except GridflowError as error:
        memory[_ERROR] = str(error)
    return known


def _newest_report() -> RebalanceReport | None:
    source = reader()
    with suppress(NoData):
        return source.read(lambda redis: store.last_rebalance(redis, source.keys))
    return None


def rebalance_panel(place: Any) -> None:
    """Draw the button in `place` and the state of the run below it."""
    state = _follow()
    waiting = st.session_state.get(_RUN) is not None and (state is None or not state.ended)
    place.button(
        "Rebalance now",
        on_click=_start,
        disabled=waiting,
        type="primary",
        icon=":material/balance:",
        width="stretch",
        key="rebalance-now",
        help="Shares the pot by the configured strategy. Resting buys follow; nothing that is held is sold",
    )
    error = st.session_state.get(_ERROR)
    if error:
        put(notice(el("p", [el("strong", "Rebalance: "), str(error)]), "bad"))
    if state is not None:
        _result(state)
    elif waiting:
        put(notice(el("p", [el("strong", "Rebalance: "), "requested"]), "info"))


def _result(state: FlowRun) -> None:
    lines = st.session_state.get(_LINES) or ()
    outcome = next((line for line in lines if line.startswith("rebalance (")), state.message)
    hint = ""
    if not state.ended:
        hint = ", waiting for a worker" if state.type in ("SCHEDULED", "PENDING") else ", running"
    words = [el("strong", f"Rebalance {state.name}: {state.label}"), hint, *([" – ", outcome] if outcome else [])]
    kind = "info" if not state.ended else "good" if state.ok else "bad"
    put(notice(html([el("p", words), _page(state)]), kind))
    report: RebalanceReport | None = st.session_state.get(_REPORT)
    if state.ok and report is not None and report.applied:
        put(moves_table("What it moved", report.changes, "It moved nothing that can be seen."))


def _page(state: FlowRun) -> Html:
    with suppress(StackError):  # the stack has ended since
        return el("p", link("Show the run in Prefect", prefect().page(state.run_id)))
    return Html("")
