"""Searches with optuna: asks for values, plays the trials in parallel, tells the results. A study can be resumed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tasks.backtest.pool import run_trials
from tasks.backtest.ranking import ranked, values_of
from tasks.backtest.scoring import Score
from tasks.backtest.space import Parameter
from tasks.backtest.trial import Job, Trial, run_trial
from tasks.base.errors import ConfigError, Problem
from tasks.base.money import plain

OVER_FITTED = 0.5  # the share of the in-sample return below which an out-of-sample return is a warning
_BATCH = 40  # trials asked for at once
_SCORE = "score"


@dataclass(frozen=True)
class Search:
    """What is searched. `objectives`: see `ranking.OBJECTIVES`; the first one decides what is best."""

    parameters: Sequence[Parameter]
    objectives: Sequence[str]
    trials: int
    seed: int = 1
    processes: int | None = None


class Fold(NamedTuple):
    """One fold of a walk-forward: the best trial in its sample, and the same settings in the time after it."""

    start_ms: int
    split_ms: int
    end_ms: int
    best: Trial
    after: Trial

    @property
    def is_over_fitted(self) -> bool:
        """Whether the time after the sample earned much less than the sample did."""
        if self.best.score is None or self.best.score.total_return <= 0:
            return False
        after = self.after.score.total_return if self.after.score else 0.0
        return after < OVER_FITTED * self.best.score.total_return


class Study:
    """An optuna study, in memory or in a file. Raises ConfigError where optuna is not installed."""

    def __init__(self, search: Search, file: Path | None = None) -> None:
        self.search = search
        self._optuna = _optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        samplers = self._optuna.samplers
        several = len(search.objectives) > 1
        sampler = samplers.NSGAIISampler(seed=search.seed) if several else samplers.TPESampler(seed=search.seed)
        self._study = self._optuna.create_study(
            storage=f"sqlite:///{file}" if file else None,
            study_name="gridflow",
            sampler=sampler,
            directions=["maximize"] * len(search.objectives),
            load_if_exists=True,
        )
        self._check(file)

    def _check(self, file: Path | None) -> None:
        """A study that is resumed must be of the same search."""
        parameters = [[one.name, list(one.values)] for one in self.search.parameters]
        own = {"objectives": list(self.search.objectives), "parameters": parameters}
        known = self._study.user_attrs.get("search")
        if known is None:
            self._study.set_user_attr("search", own)
        elif known != own:
            rule = "holds a study of other settings or objectives"
            raise ConfigError([Problem("--study", str(file), rule, "Name a new file")], "the command line")

    @property
    def done(self) -> list[Trial]:
        """Trials that the study already has."""
        states = self._optuna.trial.TrialState
        return [
            Trial(dict(one.user_attrs["values"]), _score(one.user_attrs.get(_SCORE)), one.user_attrs.get("refusal", ""))
            for one in self._study.get_trials(states=(states.COMPLETE, states.FAIL))
            if "values" in one.user_attrs
        ]

    def run(self, job: Job) -> Iterator[Trial]:
        """New trials until the study has as many as the search wants; values tried before are not played again."""
        tried = {_key(trial.values): trial for trial in self.done}
        count = len(tried)
        while count < self.search.trials:
            size = min(_BATCH, self.search.trials - count)
            asked = [self._study.ask() for _ in range(size)]
            values = [{one.name: self._suggest(trial, one) for one in self.search.parameters} for trial in asked]
            fresh = {_key(one): one for one in values if _key(one) not in tried}
            for trial in run_trials(job, fresh.values(), self.search.processes):
                tried[_key(trial.values)] = trial
                yield trial
            for question, one in zip(asked, values, strict=True):
                self._tell(question, tried[_key(one)])
            count += size

    def _suggest(self, trial: Any, one: Parameter) -> str:
        if one.step is None:
            return str(trial.suggest_categorical(one.name, list(one.values)))
        place = trial.suggest_int(one.name, 0, len(one.values) - 1)
        return plain(Decimal(one.values[0]) + one.step * place)

    def _tell(self, question: Any, trial: Trial) -> None:
        question.set_user_attr("values", dict(trial.values))
        if trial.score is None:
            question.set_user_attr("refusal", trial.refusal)
            self._study.tell(question, state=self._optuna.trial.TrialState.FAIL)
            return
        question.set_user_attr(_SCORE, list(trial.score))
        self._study.tell(question, list(values_of(trial.score, self.search.objectives)))


def walk_forward(job: Job, search: Search, folds: int) -> Iterator[Fold]:
    """Search in each of `folds` parts of the time, and play its best in the part after it."""
    columns = next(iter(job.candles.values()))
    first, last = int(columns.at[0]), int(columns.at[-1]) + 1
    edges = [first + (last - first) * number // (folds + 1) for number in range(folds + 2)]
    for (start, split), (_, end) in pairwise(pairwise(edges)):
        sample = job.between(start, split)
        trials = ranked(Study(search).run(sample), search.objectives[0])
        if trials:
            after = run_trial(job.between(split, end), trials[0].values)
            yield Fold(start, split, end, trials[0], after)


def _key(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def _score(numbers: Sequence[Any] | None) -> Score | None:
    return None if numbers is None else Score(*numbers)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        rule = "needs optuna"
        raise ConfigError([Problem("optimize", "", rule, "Install gridflow[backtest]")], "this installation") from None
    return optuna
