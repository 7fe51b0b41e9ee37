"""Runs that workers left behind are told from runs that somebody runs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.runtime.worker.orphans import DEAD_SECONDS, SURE_SECONDS, TakenRun, confirmed, mark_of, orphans
from tasks.tick.heartbeat import Heartbeat, Workers

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = UUID(int=1)


def worker(name: str, *runs: UUID, age: float = 0) -> Heartbeat:
    """A worker that lists these runs."""
    facts: dict[str, Any] = {"version": "1", "host": "h", "pid": 1, "started_ms": 0}
    return Heartbeat(worker=name, runs=tuple(map(str, runs)), at_ms=1_000_000 - int(age * 1000), **facts)


def taken(mark: str | None, age: float = 100, over_in: float = 100) -> TakenRun:
    """A run that was taken `age` seconds ago."""
    return TakenRun(RUN, NOW - timedelta(seconds=age), mark, NOW + timedelta(seconds=over_in))


DEAD = DEAD_SECONDS + 1


@pytest.mark.parametrize(
    ("run", "workers", "is_orphan"),
    [
        pytest.param(taken(mark_of("w")), [worker("w", RUN)], False, id="its worker lives"),
        pytest.param(taken(mark_of("w")), [worker("w")], False, id="its worker lives and has ended it: it settles it"),
        pytest.param(taken(mark_of("w")), [worker("w", RUN, age=DEAD_SECONDS - 1)], False, id="late, not dead"),
        pytest.param(taken(mark_of("w")), [worker("w", RUN, age=DEAD)], True, id="its worker is dead"),
        pytest.param(taken(mark_of("w")), [], True, id="its worker has left"),
        pytest.param(taken(mark_of("w"), age=DEAD_SECONDS - 1), [], False, id="taken a moment ago"),
        pytest.param(taken(None), [worker("w")], True, id="pending, no mark, nobody has it"),
        pytest.param(taken(None), [worker("w", RUN)], False, id="pending, no mark, a living worker has it"),
        pytest.param(taken(str(RUN)), [worker("w")], False, id="of an earlier version, in its time"),
        pytest.param(taken(str(RUN), over_in=-1), [worker("w")], True, id="of an earlier version, its time is over"),
        pytest.param(taken(mark_of("me")), [worker("me")], True, id="mine, and I do not have it any more"),
    ],
)
def test_a_run_is_left_behind_when_its_worker_is_gone(run: TakenRun, workers: list[Heartbeat], is_orphan: bool) -> None:
    """Never a run of a living worker."""
    found = orphans([run], Workers(now_ms=1_000_000, heartbeats=tuple(workers)), "me", frozenset(), NOW)
    assert found == ({RUN} if is_orphan else set())


def test_what_this_worker_has_is_never_left_behind() -> None:
    """Even before its own heartbeat says so."""
    assert orphans([taken(None)], Workers(now_ms=1_000_000), "me", frozenset({RUN}), NOW) == set()


def test_two_looks_must_agree() -> None:
    """After an outage of Redis every heartbeat is missing for a moment."""
    suspects: dict[UUID, float] = {}
    other = uuid4()
    assert confirmed({RUN, other}, suspects, 0.0) == set()
    assert confirmed({RUN}, suspects, SURE_SECONDS - 1) == set()
    assert confirmed({RUN, other}, suspects, SURE_SECONDS) == {RUN}
    assert confirmed(set(), suspects, 2 * SURE_SECONDS) == set()
    assert suspects == {}
