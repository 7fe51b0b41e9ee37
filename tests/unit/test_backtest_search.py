"""Searches: values, trials in parallel, ranking, the check of winners, resuming, walk-forward, scenarios."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from flows.runtime.commands.sweeping import collected
from tasks.backtest import trial as trials
from tasks.backtest.fast_engine import fast_result
from tasks.backtest.optimizing import Fold, Search, Study, walk_forward
from tasks.backtest.pool import run_trials
from tasks.backtest.ranking import pareto_front, picks, ranked
from tasks.backtest.result import SymbolResult
from tasks.backtest.scenarios import NAMES, scenario
from tasks.backtest.scoring import Score
from tasks.backtest.space import Parameter, combinations, parse_parameter, size_of
from tasks.backtest.trial import Job, Trial, Unequal, exact, run_trial, score_of_result, verified, with_values
from tasks.base.errors import ConfigError
from tasks.settings.model import Settings
from tests.support.backtests import market, recorded
from tests.support.recorded import DATA

BTC = "BTC/USDT"
GRID = {"lower": "41000", "upper": "46500", "cells": 12, "quote_per_cell": "100"}


@pytest.fixture(scope="module")
def job() -> Job:
    """A grid over three days of minutes."""
    own = Settings.model_validate({"symbols": {BTC: GRID}})
    return Job(own, {BTC: market(BTC)}, {BTC: recorded("BTC")})


def scored(total_return: float, drawdown: float, name: str) -> Trial:
    """A trial with this score."""
    return Trial({"cells": name}, Score(total_return, drawdown, 0.0, 0.0, 1, 1))


def test_a_range_has_both_ends_and_a_list_its_values() -> None:
    """Exactly, in Decimal; names as on the command line."""
    steps = parse_parameter("quote-per-cell=0.1:0.5:0.2", "--sweep")
    kinds = parse_parameter("start=flat,balanced", "--sweep")
    assert (steps.name, steps.values) == ("quote_per_cell", ("0.1", "0.3", "0.5"))
    assert kinds.values == ("flat", "balanced")
    assert size_of([steps, kinds]) == len(list(combinations([steps, kinds]))) == 6
    for wrong in ("cells", "cells=", "cells=1:2", "cells=3:1:1", "cells=1:2:0", "cells=a:b:c"):
        with pytest.raises(ConfigError, match="--sweep"):
            parse_parameter(wrong, "--sweep")


def test_trials_are_the_same_in_one_process_and_in_two(job: Job) -> None:
    """Also those that cannot be played, with the reason."""
    values = [{"cells": str(cells)} for cells in (8, 16, 400)]
    here = {trial.values["cells"]: trial for trial in run_trials(job, values, 1)}
    there = {trial.values["cells"]: trial for trial in run_trials(job, values, 2)}
    assert here == there
    assert here["8"].score != here["16"].score
    assert here["400"].score is None
    assert "after fees" in here["400"].refusal


def test_a_score_is_that_of_the_exact_engine(job: Job) -> None:
    """Return, drawdown and Sharpe ratio, also of a grid that only the exact engine plays."""
    values = {"cells": "20", "start": "balanced"}
    quick, slow = run_trial(job, values).score, exact(with_values(job, values))
    assert quick == pytest.approx(score_of_result(slow, job.candles), rel=1e-9)
    assert quick is not None
    assert quick.total_return == pytest.approx(float(slow.equity / slow.funds - 1))
    assert 0 < quick.drawdown < 0.2
    stopped = run_trial(job, {"stop_loss_price": "42000"}).score
    assert stopped is not None
    assert stopped.sells > 0


def test_a_winner_that_the_engines_play_otherwise_is_an_error(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are not shown."""
    verified(job, {"cells": "10"})

    def lying(*arguments: Any) -> Any:
        result = fast_result(*arguments)
        own = result.symbols[BTC]
        return replace(result, symbols={BTC: SymbolResult(**{**vars(own), "buys": own.buys + 1})})

    monkeypatch.setattr(trials, "fast_result", lying)
    with pytest.raises(Unequal, match="differ"):
        verified(job, {"cells": "10"})


def test_ranking_and_the_picks_of_a_front() -> None:
    """Beaten trials leave the front; the knee is near the best of both."""
    bold, middle, calm = scored(0.3, 0.5, "bold"), scored(0.25, 0.1, "middle"), scored(0.02, 0.01, "calm")
    beaten, refused = scored(0.2, 0.2, "beaten"), Trial({"cells": "none"}, None, "too many")
    everything = [beaten, calm, refused, bold, middle]
    assert ranked(everything, "return") == [bold, middle, beaten, calm]
    front = pareto_front(everything, ("return", "drawdown"))
    assert front == [bold, middle, calm]
    assert picks(front, ("return", "drawdown")) == {"best": bold, "knee": middle, "safest": calm}
    assert picks([], ("return",)) == {}


def test_ctrl_c_keeps_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """And ends the source."""
    ended = []

    def source() -> Iterator[Trial]:
        try:
            yield scored(0.1, 0.1, "one")
            yield scored(0.1, 0.1, "two")
            raise KeyboardInterrupt
        finally:
            ended.append(True)

    assert [trial.values["cells"] for trial in collected(source(), 10, quiet=True)] == ["one", "two"]
    assert ended == [True]
    assert "2 of 10" in capsys.readouterr().err


def test_a_sweep_on_the_command_line(tmp_path: Path) -> None:
    """Every combination is in the file; the best are shown with the exact engine's figures."""
    grid = ["--lower", "41000", "--upper", "46500", "--quote-per-cell", "100", "--tick-size", "0.01"]
    sweep = ["--sweep", "cells=8:16:4", "--sweep", "start=flat,balanced", "--processes", "1", "--top", "2"]
    data = ["--data", str(DATA / "BTC-USDT-1m-2024-01.csv.gz"), "--symbol", BTC, "--out", str(tmp_path / "all.csv")]
    done = CliRunner().invoke(cli, ["backtest", *data, *grid, *sweep, "--lot-step", "0.00001", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == found["trials"] == found["of"] == 6
    assert len(found["shown"]) == 2
    best = max(rows, key=lambda row: float(row["total_return"]))
    first = found["shown"][0]
    assert first["values"] == {"cells": best["cells"], "start": best["start"]}
    assert first["exact"]["engine"] == "exact"
    assert (first["exact"]["buys"], first["exact"]["sells"]) == (first["buys"], first["sells"])


def test_a_study_is_resumed_and_not_mixed_with_another(job: Job, tmp_path: Path) -> None:
    """Six trials, then four more; the same values are never played twice; other ranges are refused."""
    parameters = [parse_parameter("cells=4:30:1", "--range"), parse_parameter("start=flat,balanced", "--range")]
    search = Search(parameters, ("return", "drawdown"), 6, processes=1)
    first = list(Study(search, tmp_path / "study.db").run(job))
    more = list(Study(replace(search, trials=10), tmp_path / "study.db").run(job))
    again = Study(replace(search, trials=10), tmp_path / "study.db")
    assert list(again.run(job)) == []
    played = [tuple(trial.values.items()) for trial in [*first, *more]]
    assert len(set(played)) == len(played) <= 10
    assert {tuple(trial.values.items()) for trial in again.done} == set(played)
    other = Search(parameters[:1], ("return", "drawdown"), 6)
    with pytest.raises(ConfigError, match="--study"):
        Study(other, tmp_path / "study.db")


def test_walk_forward_tests_in_the_time_after(job: Job) -> None:
    """Each fold's test begins where its search ended; a test that earns much less is over-fitted."""
    search = Search([Parameter("cells", ("8", "14", "20"))], ("return",), 3, processes=1)
    folds = list(walk_forward(job, search, 2))
    assert len(folds) == 2
    assert folds[0].split_ms == folds[1].start_ms
    assert folds[0].end_ms == folds[1].split_ms
    sample = job.between(folds[0].start_ms, folds[0].split_ms)
    best = ranked([run_trial(sample, {"cells": cells}) for cells in ("8", "14", "20")], "return")
    assert folds[0].best.score == best[0].score
    good, bad = scored(0.1, 0.1, "x"), scored(0.04, 0.1, "x")
    assert Fold(0, 1, 2, good, bad).is_over_fitted
    assert not Fold(0, 1, 2, good, scored(0.06, 0.1, "x")).is_over_fitted


def test_scenarios_move_the_price_and_keep_candles_whole(job: Job) -> None:
    """Halved, doubled, hardly moved; low ≤ open, close ≤ high; a grid can be played in each."""
    before = job.candles[BTC]
    shares = {"crash": 0.5, "melt-up": 2.0}
    for name in NAMES:
        after = scenario(job, name).candles[BTC]
        assert (after.low <= after.open).all()
        assert (after.close <= after.high).all()
        assert (after.low <= after.close).all()
        if name in shares:
            assert after.close[-1] / before.close[-1] == pytest.approx(shares[name], rel=1e-3)
        else:
            assert after.high.max() - after.low.min() < (before.high.max() - before.low.min()) * 0.21
        assert run_trial(scenario(job, name), {"cells": "10"}).score is not None


def test_optimize_on_the_command_line(tmp_path: Path) -> None:
    """One JSON object: the picks, and each in every scenario; with folds, both samples side by side."""
    grid = ["--lower", "41000", "--upper", "46500", "--quote-per-cell", "100", "--tick-size", "0.01"]
    data = ["--data", str(DATA / "BTC-USDT-1m-2024-01.csv.gz"), "--symbol", BTC, "--lot-step", "0.00001"]
    search = ["--range", "cells=6:20:2", "--trials", "4", "--processes", "1", "--json"]
    done = CliRunner().invoke(cli, ["optimize", *data, *grid, *search, "--scenarios"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [one["name"] for one in found["shown"]] == ["best", "knee", "safest"]
    assert {(one["pick"], one["scenario"]) for one in found["scenarios"]} == {
        (pick, name) for pick in ("best", "knee", "safest") for name in NAMES
    }
    done = CliRunner().invoke(cli, ["optimize", *data, *grid, *search, "--folds", "2"])
    folds = json.loads(done.output)["folds"]
    assert [one["in_sample"]["buys"] > 0 for one in folds] == [True, True]
    assert {"out_of_sample", "over_fitted"} <= folds[0].keys()
