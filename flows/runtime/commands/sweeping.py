"""Running a search for `backtest --sweep` and `optimize`: progress, Ctrl-C, files, and the check of what is shown."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from flows.runtime.commands.interrupts import one_interrupt
from tasks.backtest.output import as_json as json_text
from tasks.backtest.output import summary, write_rows
from tasks.backtest.pool import run_trials
from tasks.backtest.ranking import ranked
from tasks.backtest.scoring import Score
from tasks.backtest.space import Parameter, combinations, size_of
from tasks.backtest.trial import Job, Trial, verified
from tasks.base.errors import ConfigError, Problem


@one_interrupt()
def run_sweep(
    job: Job, parameters: Sequence[Parameter], objective: str, options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Every combination; the best by `objective` are shown, each played again by the exact engine."""
    count = size_of(parameters)
    trials = collected(run_trials(job, combinations(parameters), options["processes"]), count, quiet=as_json)
    if options["out"] is not None:
        write_trials(options["out"], trials)
    best = ranked(trials, objective)[: options["top"]]
    if not best:
        raise nothing_to_show(trials)
    show({str(number): trial for number, trial in enumerate(best, 1)}, job, len(trials), count, as_json=as_json)


def collected(trials: Iterable[Trial], count: int, *, quiet: bool) -> list[Trial]:
    """All trials, with a progress bar that says what is left. Ctrl-C keeps those that are done."""
    found: list[Trial] = []
    source = iter(trials)
    try:
        if quiet:
            found.extend(source)
            return found
        with click.progressbar(length=count, label="Trials", show_pos=True, show_eta=True, file=sys.stderr) as bar:
            for trial in source:
                found.append(trial)
                bar.update(1)
    except KeyboardInterrupt:
        click.echo(f"\nStopped: {len(found)} of {count} trials are done", err=True)
    finally:
        if hasattr(source, "close"):
            source.close()
    return found


def nothing_to_show(trials: Sequence[Trial]) -> ConfigError:
    """Why no trial could be played."""
    reasons = Counter(trial.refusal for trial in trials if trial.score is None)
    reason = reasons.most_common(1)[0][0] if reasons else "it was stopped before the first"
    problem = Problem("the search", f"{len(trials)} trials", f"none could be played: {reason}", "Try other values")
    return ConfigError([problem], "the command line")


def show(
    named: Mapping[str, Trial],
    job: Job,
    done: int,
    count: int,
    *,
    as_json: bool,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """The named trials, each played again by the exact engine. Raises Unequal where it differs. `more`: for JSON."""
    exact = {name: verified(job, trial.values) for name, trial in named.items()}
    if as_json:
        rows = [
            {"name": name, "values": dict(trial.values), **score_row(trial.score), "exact": summary(exact[name])}
            for name, trial in named.items()
        ]
        click.echo(json_text({"trials": done, "of": count, "shown": rows, **more}))
        return
    from rich.console import Console
    from rich.table import Table

    settings = list(dict.fromkeys(chain.from_iterable(trial.values for trial in named.values())))
    table = Table("", *settings, "return", "drawdown", "Sharpe", "grid profit", "fills", title=f"{done} trials")
    for name, trial in named.items():
        score = trial.score
        assert score is not None
        shares = (f"{score.total_return:+.2%}", f"{score.drawdown:.2%}", f"{score.sharpe:.2f}")
        profit = f"{exact[name].grid_profit:,.2f}"
        texts = [trial.values.get(setting, "") for setting in settings]
        table.add_row(name, *texts, *shares, profit, str(score.buys + score.sells))
    Console().print(table)
    click.echo("Each of these was played again by the exact engine, with the same fills.")


def score_row(score: Score | None) -> dict[str, Any]:
    """A score as a row; empty for a trial that could not be played."""
    return dict(score._asdict()) if score is not None else dict.fromkeys(Score._fields)


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write every trial: its settings, its score, why it was refused."""
    rows = [{**trial.values, **score_row(trial.score), "refusal": trial.refusal} for trial in trials]
    columns = list(dict.fromkeys(chain.from_iterable(rows)))
    write_rows(path, columns, rows, "--out")
