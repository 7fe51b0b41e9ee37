"""Ranks trials: by one objective, or a Pareto front of several with named picks. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from tasks.backtest.scoring import Score
from tasks.backtest.trial import Trial

Objective = Callable[[Score], float]
# Each is better the larger it is.
OBJECTIVES: Mapping[str, Objective] = {
    "return": lambda score: score.total_return,
    "drawdown": lambda score: -score.drawdown,
    "sharpe": lambda score: score.sharpe,
    "grid_profit": lambda score: score.grid_profit,
}


def values_of(score: Score, objectives: Sequence[str]) -> tuple[float, ...]:
    """The objectives' values, larger is better."""
    return tuple(OBJECTIVES[name](score) for name in objectives)


def ranked(trials: Iterable[Trial], objective: str) -> list[Trial]:
    """Trials that could be played, the best first; of equal ones, the first by their values' text."""
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    scored.sort(key=lambda pair: (-OBJECTIVES[objective](pair[0]), sorted(pair[1].values.items())))
    return [trial for _, trial in scored]


def pareto_front(trials: Iterable[Trial], objectives: Sequence[str]) -> list[Trial]:
    """Trials that no other one beats in one objective and equals in the rest, the best in the first objective first."""
    found: dict[tuple[float, ...], Trial] = {}
    for trial in trials:
        if trial.score is not None:
            found.setdefault(values_of(trial.score, objectives), trial)
    front = [
        (point, trial)
        for point, trial in found.items()
        if not any(other != point and all(a >= b for a, b in zip(other, point, strict=True)) for other in found)
    ]
    front.sort(key=lambda pair: pair[0], reverse=True)
    return [trial for _, trial in front]


def picks(front: Sequence[Trial], objectives: Sequence[str]) -> dict[str, Trial]:
    """`best` in the first objective, `safest` in the last, and the `knee`: nearest to the best of all at once.

    Distances are of values scaled to 0 … 1 over the front.
    """
    points = [values_of(trial.score, objectives) for trial in front if trial.score is not None]
    if not points:
        return {}
    best, worst = (tuple(pick(column) for column in zip(*points, strict=True)) for pick in (max, min))

    def distance(point: tuple[float, ...]) -> float:
        spans = zip(point, best, worst, strict=True)
        return sum(((top - value) / (top - low)) ** 2 if top > low else 0.0 for value, top, low in spans)

    knee = min(range(len(points)), key=lambda number: distance(points[number]))
    safest = max(range(len(points)), key=lambda number: points[number][::-1])
    return {"best": front[0], "knee": front[knee], "safest": front[safest]}
