"""Which windows are overdue: pure rules over flow runs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun

from flows.runtime.worker.overdue import overdue

_NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
_BTC, _ETH = uuid4(), uuid4()


def _run(seconds_ago: float, deployment: UUID = _BTC, **fields: Any) -> FlowRun:
    start = _NOW - timedelta(seconds=seconds_ago)
    return FlowRun(flow_id=uuid4(), deployment_id=deployment, expected_start_time=start, **fields)


def _overdue(*runs: FlowRun, account: str = "main") -> list[FlowRun]:
    return overdue(runs, account, timedelta(seconds=60), _NOW)


def test_a_window_is_overdue_once_it_is_over() -> None:
    """Until then it can still be traded, however late it is."""
    over, open_still = _run(60), _run(59, _ETH)
    assert _overdue(over, open_still) == [over]


def test_of_several_due_windows_of_one_deployment_the_newest_is_kept() -> None:
    """In whatever order they come; another deployment's windows do not count."""
    newest, older, other = _run(1), _run(20), _run(30, _ETH)
    assert _overdue(newest, other, older) == [older]


def test_a_window_that_is_not_due_yet_supersedes_nothing() -> None:
    """A worker sees runs a few seconds before they are due."""
    assert _overdue(_run(50), _run(-5)) == []


def test_a_run_that_began_before_is_not_overdue() -> None:
    """A retry has a record to keep."""
    assert _overdue(_run(600, start_time=_NOW - timedelta(seconds=599))) == []


def test_runs_of_another_account_are_left_alone() -> None:
    """Runs without the parameter are of account `main`."""
    mine, theirs = _run(600), _run(600, parameters={"account": "alt"})
    assert _overdue(mine, theirs) == [mine]
    assert _overdue(mine, theirs, account="alt") == [theirs]
