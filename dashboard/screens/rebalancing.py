"""The "Rebalance now" button: starts the Prefect run and follows it to its end."""

import logging
from contextlib import suppress
from typing import Any

import streamlit as st

from dashboard.connection import NoData, prefect, reader
from dashboard.present import escaped
from tasks.base.errors import GridflowError, StackError
from tasks.control.actions import Actor, record
from tasks.control.prefect_runs import FlowRun
from tasks.control.runs import start_rebalance

log = logging.getLogger("dashboard.rebalancing")
_RUN, _ERROR, _STATE, _LINES = "rebalance_run", "rebalance_error", "rebalance_state", "rebalance_lines"


def _start() -> None:
    memory = st.session_state
    for name in (_RUN, _ERROR, _STATE, _LINES):
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
        memory.pop(_ERROR, None)
    except GridflowError as error:
        memory[_ERROR] = str(error)
    return known


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
    if st.session_state.get(_ERROR):
        st.error(f"**Rebalance:** {escaped(st.session_state[_ERROR])}", icon=":material/error:")
    if state is not None:
        _result(state)
    elif waiting:
        st.info("**Rebalance:** requested", icon=":material/hourglass_top:")


def _result(state: FlowRun) -> None:
    name = f"**Rebalance** {escaped(state.name)}: **{escaped(state.label)}**"
    lines = st.session_state.get(_LINES) or ()
    outcome = next((line for line in lines if line.startswith("rebalance (")), state.message)
    detail = f"  \n{escaped(outcome)}" if outcome else ""
    if state.type == "COMPLETED":
        st.success(name + detail, icon=":material/check_circle:")
    elif state.ended:
        st.error(name + detail, icon=":material/error:")
    else:
        hint = "waiting for a worker" if state.type in ("SCHEDULED", "PENDING") else "running"
        st.info(f"{name}, {hint}", icon=":material/hourglass_top:")
    with suppress(StackError):  # the stack has ended since
        page = prefect().page(state.run_id)
        st.link_button("Show the run in Prefect", page, icon=":material/open_in_new:")
