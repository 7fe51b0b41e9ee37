"""The Backtest screen: a run in a process of its own, the form that the settings describe, what is shown of runs."""

import os
import signal
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC
from unittest.mock import patch

import pytest

from dashboard.charts.backtest import drawn, falls, growth, in_base, prices
from dashboard.present.backtest import (
    Shown,
    differences_table,
    figures_table,
    grid_fields,
    months_table,
    result_tiles,
    run_name,
    wrong,
)
from tasks.backtest import apart, play_process
from tasks.backtest.apart import MOST_AT_ONCE, Busy, Order, Phase, Run, Told
from tasks.backtest.shelf import SAMPLE, shelves
from tasks.base.clock import DAY_MS
from tasks.base.errors import ConfigError, Problem
from tasks.settings.grids import KINDS
from tasks.settings.model import Settings
from tasks.settings.toml_text import symbol_table
from tests.support.waiting import until

BTC = "BTC/USDT"
GRID = {"grid": "geometric", "range_pct": "0.03", "cells": "12"}
FIRST_MS = 1_704_067_200_000  # 2024-01-01


def order(grid: Mapping[str, str] = GRID, **changes: object) -> Order:
    """The first day of the sample."""
    facts: dict[str, object] = {"start_ms": FIRST_MS, "end_ms": FIRST_MS + DAY_MS} | changes
    return Order(SAMPLE, BTC, grid, **facts)  # type: ignore[arg-type]


def shown(place: int, **changes: str) -> Shown:
    """A run that is done, without a process."""
    asked = order(GRID | changes)
    own = asked.settings().symbols[BTC]
    return Shown(run_name(place, BTC, own), BTC, own, play_process.played(asked, lambda _: None))


@pytest.fixture(scope="module")
def runs() -> list[Shown]:
    """Two runs with other numbers of cells."""
    return [shown(1), shown(2, cells="6", start="balanced")]


def ended(run: Run) -> Phase:
    """Wait for the end of a run."""
    until(lambda: run.look() is not Phase.RUNNING, 20, "the backtest")
    return run.phase


# --- the process -------------------------------------------------------------------------------------------
def test_a_run_gives_what_the_engine_gives_here(runs: list[Shown]) -> None:
    """The same figures and fills, from another process; days outside the candles are refused by name."""
    run, outside = Run(order()), Run(order(start_ms=0, end_ms=DAY_MS))
    with pytest.raises(Busy, match=f"{MOST_AT_ONCE} backtests run already"):
        Run(order())
    assert ended(run) is Phase.DONE
    assert run.contents is not None
    assert run.contents == runs[0].contents
    assert (run.share, len(run.contents.fills) > 5) == (1.0, True)
    assert ended(outside) is Phase.REFUSED
    (problem,) = outside.problems
    assert (problem.field, problem.value) == ("from, to", "1970-01-01 to 1970-01-02")
    assert problem.remedy == "The candles reach from 2024-01-01 to 2024-01-03"


def test_a_run_that_is_stopped_or_killed_says_so() -> None:
    """And leaves no process."""
    stopped, killed = Run(order()), Run(order())
    stopped.stop()
    os.kill(killed._process.pid, signal.SIGKILL)
    assert ended(killed) is Phase.FAILED
    assert "code -9" in killed.why
    assert stopped.look() is Phase.STOPPED
    assert None not in (stopped._process.poll(), killed._process.poll())


def test_a_process_that_cannot_start_is_told() -> None:
    """Not an error of the page."""
    with patch.object(apart, "_PROGRAM", (sys.executable, "-c", "raise SystemExit(3)")):
        run = Run(order())
    assert ended(run) is Phase.FAILED
    assert "code 3" in run.why


def test_wrong_settings_start_no_process() -> None:
    """Every problem at once."""
    with pytest.raises(ConfigError) as caught:
        Run(order({"grid": "arithmetic", "lower": "x", "cells": "0"}, funds="-1"))
    fields = {one.field for one in caught.value.problems}
    assert fields >= {"total_funds", f'symbols."{BTC}".lower', f'symbols."{BTC}".cells'}


def test_how_far_a_run_is_only_grows() -> None:
    """From 0 to 1."""
    told: list[Told] = []
    with patch.object(play_process, "_TELL_SECONDS", 0):
        play_process.played(order(), told.append)
    shares = [one.content for one in told]
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] <= 1


def test_folders_with_candles() -> None:
    """Each once; those without candles, and those that are not there, are left out."""
    found = shelves([SAMPLE, None, SAMPLE.parent, SAMPLE / "no such", SAMPLE / ".." / SAMPLE.name])
    assert [(one.folder, one.symbols) for one in found] == [(SAMPLE, ("BNB/USDT", BTC, "ETH/USDT"))]


# --- the form ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_the_form_has_every_field_of_a_kind(kind: str) -> None:
    """With its meaning, its default or an example, and the choices that the settings allow."""
    own, limits = grid_fields(kind)
    fields = {one.name: one for one in (*own, *limits)}
    assert fields.keys() | {"grid", "weight"} == KINDS[kind].model_fields.keys()
    assert fields["start"].choices == ("flat", "balanced")
    assert fields["cells"].hint == "20"
    assert fields["stop_loss_price"].hint == "for instance 37000"
    assert "stop_exit" in {one.name for one in limits}
    assert all(one.help for one in fields.values())


def test_what_is_wrong_names_field_value_rule_and_remedy() -> None:
    """As text: a value makes no tag."""
    made = wrong([Problem("symbols.cells", "<b>", "must be a whole number", "Example: cells = 20")])
    for words in ("symbols.cells", "&lt;b&gt;", "must be a whole number", "Example: cells = 20"):
        assert words in made
    assert "<b>" not in made


# --- results -----------------------------------------------------------------------------------------------
def test_two_runs_beside_each_other(runs: list[Shown]) -> None:
    """Each figure of both, and the settings that differ, defaults included."""
    first, second = runs
    assert second.name == "2 · BTC/USDT geometric ±3 % of the first price, 6 cells"
    table = figures_table(runs)
    for run in runs:
        assert run.name in table
        assert f"{run.contents.statistics.fees:,.2f}" in table
    differing = differences_table(runs)
    for name, values in (("cells", ("12", "6")), ("start", ("flat", "balanced"))):
        assert f">{name}<" in differing
        assert all(f">{value}<" in differing for value in values)
    assert ">range_pct<" not in differing
    assert "Both have the same settings." in differences_table([first, first])


def test_one_run_in_figures_and_months(runs: list[Shown]) -> None:
    """With what each word means."""
    made = result_tiles(runs[0], "USDT")
    assert "Profit, USDT" in made
    assert "proceeds less cost" in made
    assert "2024-01" in months_table(runs[0].contents)


def test_the_table_for_the_settings_file_is_the_grid(runs: list[Shown]) -> None:
    """Read back, it is what was played."""
    for run in runs:
        text = symbol_table(BTC, run.grid)
        again = Settings.model_validate(tomllib.loads(text))
        assert again.symbols[BTC] == run.grid


def test_charts_of_runs(runs: list[Shown]) -> None:
    """Growth begins at 0 %, falls are not above it, and the fills stand where they were."""
    named = [(run.name, run.contents) for run in runs]
    grown, fallen = growth(named), falls(named)
    assert [line["name"] for line in grown["series"]] == [*(name for name, _ in named), "Buy and hold"]
    assert all(line["data"][0][1] == 0 for line in grown["series"])
    assert all(change <= 0 for line in fallen["series"] for _, change in line["data"])
    shares = [share for line in in_base(named)["series"] for _, share in line["data"]]
    assert 0 <= min(shares) < 1
    assert 10 < max(shares) <= 100
    contents = runs[0].contents
    last = grown["series"][0]["data"][-1][1]
    assert last == pytest.approx(float(contents.curve[-1].equity / contents.curve[0].equity - 1) * 100, abs=1e-3)
    price, bought, sold = prices(contents, BTC, UTC)["series"]
    assert len(bought["data"]) + len(sold["data"]) == len(contents.fills)
    assert drawn(contents) == ""
    assert 100 < len(price["data"]) <= 802
    assert {row[1] for row in bought["data"]} <= {float(level) for level in contents.levels[BTC]}
