"""Decides which flow runs were left behind by workers that are gone. Pure.

A worker puts its id on each run that it takes, and lists its runs in its heartbeat. A run counts as left behind only
when two looks SURE_SECONDS apart say so: after an outage of Redis every heartbeat is missing for a moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tasks.tick.heartbeat import Heartbeat, Workers

DEAD_SECONDS = 30.0  # a worker whose heartbeat is older is dead
SURE_SECONDS = 20.0
_MARK = "gridflow:"


@dataclass(frozen=True)
class TakenRun:
    """A run that some worker has taken: since when it is in its state, and the mark of that worker."""

    run_id: UUID
    since: datetime
    mark: str | None
    over_at: datetime  # its window is over then; a worker of an earlier version has ended it


def mark_of(worker: str) -> str:
    """What a worker puts on a run that it takes."""
    return f"{_MARK}{worker}"


def orphans(runs: Iterable[TakenRun], workers: Workers, me: str, mine: frozenset[UUID], now: datetime) -> set[UUID]:
    """The runs that nobody runs any more. `mine`: the runs that the worker `me` has."""
    living = {worker.worker: worker for worker in workers.living(int(DEAD_SECONDS * 1000))}
    listed = {UUID(run) for worker in living.values() for run in worker.runs} | mine
    settled = now - timedelta(seconds=DEAD_SECONDS)  # a worker that has just taken a run may not have listed it yet
    return {
        run.run_id
        for run in runs
        if run.since <= settled and run.run_id not in listed and _is_left_behind(run, living, me, now)
    }


def _is_left_behind(run: TakenRun, living: Mapping[str, Heartbeat], me: str, now: datetime) -> bool:
    """A run without a mark died before its worker could put one. A foreign mark is an earlier version's."""
    if run.mark is None:
        return True
    worker = run.mark.removeprefix(_MARK)
    if worker == run.mark:
        return now >= run.over_at
    return worker == me or worker not in living


def confirmed(found: set[UUID], suspects: dict[UUID, float], now: float) -> set[UUID]:
    """Those of `found` that were found SURE_SECONDS ago already. Keeps `suspects` (run → first found) up to date."""
    for run_id in set(suspects) - found:
        del suspects[run_id]
    for run_id in found:
        suspects.setdefault(run_id, now)
    return {run_id for run_id in found if now - suspects[run_id] >= SURE_SECONDS}
