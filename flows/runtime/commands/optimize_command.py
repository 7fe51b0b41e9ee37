"""`gridflow optimize`: searches settings over candles. Needs the extra `backtest`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from flows.runtime.commands.backtest_command import job_of
from flows.runtime.commands.backtest_options import backtest_options, search_options
from flows.runtime.commands.interrupts import one_interrupt
from flows.runtime.commands.options import json_option
from flows.runtime.commands.sweeping import collected, nothing_to_show, score_row, show, write_trials
from tasks.backtest import scenarios
from tasks.backtest.optimizing import Fold, Search, Study, walk_forward
from tasks.backtest.output import as_json as json_text
from tasks.backtest.ranking import OBJECTIVES, pareto_front, picks
from tasks.backtest.space import parse_parameter
from tasks.backtest.trial import Job, Trial, run_trial


@click.command()
@backtest_options
@search_options
@click.option("--range", "ranges", multiple=True, required=True, help="Values: cells=10:40:5 or start=flat,balanced.")
@click.option("--trials", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Trials in all.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    type=click.Choice(list(OBJECTIVES)),
    help="What is best; several give a Pareto front. [default: return, then drawdown]",
)
@click.option("--study", type=click.Path(path_type=Path, dir_okay=False), help="File of the study; it is resumed.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the search.")
@click.option(
    "--folds", type=click.IntRange(0, 50), default=0, help="Walk-forward: search in each part, test in the next."
)
@click.option(
    "--scenarios", "with_scenarios", is_flag=True, help="Play the picks in a crash, a melt-up, a flat market."
)
@json_option
@one_interrupt()
def optimize(
    ranges: tuple[str, ...],
    trials: int,
    objectives: tuple[str, ...],
    study: Path | None,
    seed: int,
    folds: int,
    with_scenarios: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Search a symbol's settings for the best grid. Every pick is played again by the exact engine."""
    job = job_of(options, ranges)
    parameters = [parse_parameter(text, "--range") for text in ranges]
    search = Search(parameters, objectives or ("return", "drawdown"), trials, seed, options["processes"])
    if folds:
        _walk(job, search, folds, as_json=as_json)
        return
    opened = Study(search, study)
    before = opened.done
    new = collected(opened.run(job), trials - len(before), quiet=as_json)
    done = [*before, *new]
    if options["out"] is not None:
        write_trials(options["out"], done)
    chosen = picks(pareto_front(done, search.objectives), search.objectives)
    if not chosen:
        raise nothing_to_show(done)
    played = _scenarios(job, chosen) if with_scenarios else {}
    rows = [{"pick": pick, "scenario": name, **score_row(one.score)} for (pick, name), one in played.items()]
    show(chosen, job, len(done), trials, as_json=as_json, more={"scenarios": rows})
    if played and not as_json:
        _print_scenarios(played, chosen)


def _walk(job: Job, search: Search, folds: int, *, as_json: bool) -> None:
    found = list(walk_forward(job, search, folds))
    over_fitted = sum(fold.is_over_fitted for fold in found)
    if as_json:
        rows = [
            {
                "start_ms": fold.start_ms,
                "split_ms": fold.split_ms,
                "end_ms": fold.end_ms,
                "values": dict(fold.best.values),
                "in_sample": score_row(fold.best.score),
                "out_of_sample": score_row(fold.after.score),
                "over_fitted": fold.is_over_fitted,
            }
            for fold in found
        ]
        click.echo(json_text({"folds": rows, "over_fitted": over_fitted}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("from", "split", "to", "settings", "in sample", "out of sample", title="Walk-forward")
    for fold in found:
        settings = ", ".join(f"{name} {value}" for name, value in fold.best.values.items())
        times = [_day(at_ms) for at_ms in fold[:3]]
        table.add_row(*times, settings, _return(fold.best), _return(fold.after))
    Console().print(table)
    _warn(found, over_fitted)


def _warn(found: list[Fold], over_fitted: int) -> None:
    if over_fitted:
        click.echo(
            f"Warning: in {over_fitted} of {len(found)} parts the time after earned less than half of what the search "
            "found. These settings fit the past, not the market. Use fewer parameters or more candles"
        )


def _scenarios(job: Job, chosen: Mapping[str, Trial]) -> dict[tuple[str, str], Trial]:
    """Each pick in each scenario, by both names."""
    return {
        (pick, name): run_trial(scenarios.scenario(job, name), trial.values)
        for pick, trial in chosen.items()
        for name in scenarios.NAMES
    }


def _print_scenarios(played: Mapping[tuple[str, str], Trial], chosen: Mapping[str, Trial]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("pick", *scenarios.NAMES, title="Return in scenarios")
    for pick in chosen:
        table.add_row(pick, *(_return(played[pick, name]) for name in scenarios.NAMES))
    Console().print(table)


def _return(trial: Trial) -> str:
    return f"{trial.score.total_return:+.2%}" if trial.score else trial.refusal


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
