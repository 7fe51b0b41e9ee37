"""One trial of a search: a job with some settings of its symbols changed, played by the fast engine where it can. Pure.

The figures of a winner come from the exact engine (`verified`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine, shared_time
from tasks.backtest.fast_engine import fast_result, play_fast
from tasks.backtest.fast_limits import CANNOT_PLAY
from tasks.backtest.result import Result, result_of
from tasks.backtest.scoring import Score, equity_curve, moves_of, moves_of_fast, score_of
from tasks.base.errors import ConfigError, GridflowError
from tasks.base.money import UNITS_PER_QUOTE
from tasks.exchange.models import Market
from tasks.settings.checks import rule_problems
from tasks.settings.grids import AnySymbol, SymbolSettings
from tasks.settings.model import Settings
from tasks.settings.problems import problems_of
from tasks.settings.validated import Validated

_GRIDS: TypeAdapter[SymbolSettings] = TypeAdapter(AnySymbol)


@dataclass(frozen=True)
class Job:
    """What a backtest plays."""

    settings: Settings
    markets: Mapping[str, Market]
    candles: Mapping[str, CandleColumns]

    def between(self, start_ms: int, end_ms: int) -> "Job":
        """The same over the candles that open from `start_ms` to before `end_ms`."""
        cut = {symbol: columns.between(start_ms, end_ms) for symbol, columns in self.candles.items()}
        return Job(self.settings, self.markets, cut)


class Trial(NamedTuple):
    """The changed settings and their score; None where the grid cannot start, and why."""

    values: Mapping[str, str]
    score: Score | None
    refusal: str = ""


class Unequal(GridflowError):
    """The fast and the exact engine differ: a bug, whatever the figures say."""


def with_values(job: Job, values: Mapping[str, str]) -> Job:
    """The job with these settings in every symbol's table. Raises ConfigError."""
    try:
        symbols = {
            name: _GRIDS.validate_python(own.model_dump(exclude_none=True) | dict(values))
            for name, own in job.settings.symbols.items()
        }
    except ValidationError as error:
        raise ConfigError(problems_of(error), "the values tried") from None
    settings = job.settings.model_copy(update={"symbols": symbols})
    if problems := rule_problems(Validated(settings)):
        raise ConfigError(problems, "the values tried")
    return Job(settings, job.markets, job.candles)


def scored(job: Job) -> Score:
    """By the fast engine; by the exact one where that refuses. Raises ConfigError where a grid cannot start."""
    funds, candles = float(job.settings.total_funds), shared_time(_own(job))
    try:
        outcomes = play_fast(job.settings, job.markets, candles)
    except ConfigError as refused:
        if refused.source != CANNOT_PLAY:
            raise
        return score_of_result(exact(job), candles)
    moves = {symbol: moves_of_fast(outcome, candles[symbol]) for symbol, outcome in outcomes.items()}
    profit = sum(outcome.profit for outcome in outcomes.values()) / UNITS_PER_QUOTE**2
    buys, sells = (sum(getattr(one, name) for one in outcomes.values()) for name in ("buys", "sells"))
    return score_of(equity_curve(funds, moves, candles)[1], profit, (buys, sells))


def score_of_result(result: Result, candles: Mapping[str, CandleColumns]) -> Score:
    """The score of a result."""
    moves = {
        symbol: moves_of((fill for fill in result.fills if fill.symbol == symbol), columns.interval_ms)
        for symbol, columns in candles.items()
    }
    _, equity = equity_curve(float(result.funds), moves, candles)
    return score_of(equity, float(result.grid_profit), (result.buys, result.sells))


def exact(job: Job) -> Result:
    """By the exact engine."""
    return result_of(Engine(job.settings, job.markets, job.candles).play())


def _own(job: Job) -> dict[str, CandleColumns]:
    return {symbol: job.candles[symbol] for symbol in job.settings.symbols}


def run_trial(job: Job, values: Mapping[str, str]) -> Trial:
    """Play one trial."""
    try:
        return Trial(values, scored(with_values(job, values)))
    except ConfigError as refused:
        return Trial(values, None, refused.problems[0].rule)


def verified(job: Job, values: Mapping[str, str]) -> Result:
    """The trial by the exact engine. Raises Unequal where the fast engine plays it, and otherwise."""
    changed = with_values(job, values)
    result = exact(changed)
    try:
        quick = fast_result(changed.settings, changed.markets, changed.candles)
    except ConfigError as refused:
        if refused.source != CANNOT_PLAY:
            raise
        return result
    if quick.symbols != result.symbols:
        raise Unequal(f"the engines differ for {dict(values)}: {dict(quick.symbols)} and {dict(result.symbols)}")
    return result
