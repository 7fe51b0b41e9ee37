"""Backtest: a grid over candles by the live decisions, what it would have made, and two of them compared."""

from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.charts.backtest import drawn, falls, growth, in_base, prices
from dashboard.connection import reader
from dashboard.present.backtest import (
    Shown,
    differences_table,
    figures_table,
    months_table,
    result_tiles,
    run_name,
    wrong,
)
from dashboard.present.html import el
from dashboard.present.notices import notice
from dashboard.screens.backtest_form import ask, chosen_candles
from dashboard.screens.frame import head, page, put, quick_seconds, refreshing, zone
from tasks.backtest.apart import Busy, Order, Phase, Run
from tasks.backtest.shelf import SAMPLE, shelves
from tasks.base.errors import ConfigError, Problem
from tasks.settings.toml_text import symbol_table
from tasks.views.glossary import GLOSSARY

KEPT = 6  # results of a visitor; the oldest goes first
_LOOK_SECONDS = 1.0
_RUN, _DONE, _COUNT, _PROBLEMS, _WHY = "bt_run", "bt_done", "bt_count", "bt_problems", "bt_why"
NOBODY = "No other"


def show() -> None:
    """The screen."""
    page("Backtest")
    refreshing(_head, quick_seconds())
    found = shelves((reader().settings.paper.data, Path("candles"), SAMPLE))
    if not found:
        put(
            notice(
                el("p", "There are no candles yet. `gridflow data fetch` makes a folder named candles with some."),
                "info",
            )
        )
        return
    candles = chosen_candles(found)
    order = ask(candles)
    if order is not None:
        _begin(order)
    _under_way()
    _results()


def _head() -> None:
    head()


def _begin(order: Order | tuple[Problem, ...]) -> None:
    memory: Any = st.session_state
    memory[_PROBLEMS], memory[_WHY] = (), ""
    if isinstance(order, tuple):
        memory[_PROBLEMS] = order
        return
    before: Run | None = memory.get(_RUN)
    if before is not None:
        before.stop()
    try:
        memory[_RUN] = Run(order)
    except ConfigError as error:
        memory[_PROBLEMS] = tuple(error.problems)
    except Busy as error:
        memory[_WHY] = str(error)


def _under_way() -> None:
    """What is wrong with the order, or how far its run is."""
    memory: Any = st.session_state
    if memory.get(_PROBLEMS):
        put(wrong(memory[_PROBLEMS]))
    if memory.get(_WHY):
        put(notice(el("p", str(memory[_WHY])), "bad"))
    run: Run | None = memory.get(_RUN)
    if run is not None and run.look() is Phase.RUNNING:
        refreshing(_progress, _LOOK_SECONDS)
    elif run is not None:
        _ended(run)


def _progress() -> None:
    """Drawn again until the run has ended; then the whole screen is."""
    run: Run | None = st.session_state.get(_RUN)
    if run is None or run.look() is not Phase.RUNNING:
        st.rerun()
    assert run is not None
    bar, button = st.columns([5, 1], vertical_alignment="center")
    bar.progress(run.share, f"Playing {run.order.symbol}: {run.share:.0%} of the candles")
    if button.button("Stop", key="bt_stop", width="stretch"):
        run.stop()
        st.rerun()


def _ended(run: Run) -> None:
    memory: Any = st.session_state
    del memory[_RUN]
    if run.phase is Phase.DONE and run.contents is not None:
        memory[_COUNT] = memory.get(_COUNT, 0) + 1
        own = run.order.settings().symbols[run.order.symbol]
        name = run_name(memory[_COUNT], run.order.symbol, own)
        memory[_DONE] = [Shown(name, run.order.symbol, own, run.contents), *memory.get(_DONE, ())][:KEPT]
        memory["bt_shown"], memory["bt_other"] = name, NOBODY
    elif run.phase is Phase.REFUSED:
        memory[_PROBLEMS] = run.problems
        put(wrong(run.problems))
    elif run.phase is Phase.FAILED:
        memory[_WHY] = f"The backtest failed: {run.why}"
        put(notice(el("p", memory[_WHY]), "bad"))


def _results() -> None:
    runs: list[Shown] = st.session_state.get(_DONE, [])
    if not runs:
        return
    names = [run.name for run in runs]
    st.subheader("Result")
    left, right = st.columns(2)
    name = left.selectbox("Run", names, key="bt_shown")
    others = [one for one in names if one != name]
    other = right.selectbox("Compared with", [NOBODY, *others], key="bt_other") if others else NOBODY
    shown = [run for run in runs if run.name == name] + [run for run in runs if run.name == other]
    _one(shown[0]) if len(shown) == 1 else _two(shown)


def _one(run: Shown) -> None:
    contents = run.contents
    quote = run.symbol.partition("/")[2]
    put(result_tiles(run, quote))
    _growth([run])
    st.subheader("Prices, levels and fills")
    alt = f"Prices of {run.symbol} with {len(contents.fills)} fills"
    st.echarts_chart(prices(contents, run.symbol, zone()), height=400, key="bt_prices", alt=alt)
    put(el("p", drawn(contents), class_="gf-below"))
    left, right = st.columns(2)
    with left:
        st.subheader("Figures")
        put(figures_table([run]))
    with right:
        st.subheader("Months")
        put(months_table(contents))
        st.subheader("For gridflow.toml")
        st.code(symbol_table(run.symbol, run.grid), language=None)


def _two(runs: list[Shown]) -> None:
    _growth(runs)
    put(figures_table(runs))
    st.subheader("Settings that differ")
    put(differences_table(runs))
    for place, run in zip(st.columns(2), runs, strict=True):
        place.code(symbol_table(run.symbol, run.grid), language=None)


def _growth(runs: list[Shown]) -> None:
    named = [(run.name, run.contents) for run in runs]
    ends = ", ".join(f"{run.name}: {run.contents.statistics.total_pnl or 0:.2f}" for run in runs)
    st.subheader("Change of the equity", help=GLOSSARY["equity"])
    st.echarts_chart(growth(named), height=300, key="bt_growth", alt=f"Profit at the end of {ends}")
    st.subheader("Below the highest equity so far")
    st.echarts_chart(falls(named), height=180, key="bt_falls", alt="Falls from the peak of the equity")
    st.subheader("In base")
    st.echarts_chart(in_base(named), height=180, key="bt_base", alt="What of the equity is in base")
