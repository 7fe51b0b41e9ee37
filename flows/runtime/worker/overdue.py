"""Overdue windows: grid-tick runs that no worker began in time. They are deleted in bulk and never executed.

A window that never began has nothing to show, so its run is deleted rather than recorded as completed. Several workers
may do this at the same time: each deletes what the others left.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from tasks.base.deployment_names import GRID_TICK, MAIN_ACCOUNT

_PAGE = 200  # the server returns no more runs at once
_BATCH = 50  # the server deletes no more runs at once


def overdue(runs: Iterable[FlowRun], account: str, window: timedelta, now: datetime) -> list[FlowRun]:
    """The account's runs that are too late to be executed.

    These are the runs whose window (from the expected start over `window`) is over, and of several due runs of one
    deployment all but the newest. A run that began before, such as a retry, is never among them.
    """
    due = [run for run in runs if run.start_time is None and _start(run) <= now and _account(run) == account]
    newest = {run.deployment_id: run.id for run in sorted(due, key=_start)}
    return [run for run in due if _start(run) + window <= now or newest[run.deployment_id] != run.id]


async def delete_due_windows(
    client: PrefectClient, pool: str, choose: Callable[[Sequence[FlowRun]], Iterable[FlowRun]]
) -> int:
    """Delete those of the pool's due windows that `choose` returns; how many were deleted.

    `choose` gets pages of runs that never began, oldest first.
    """
    deleted = 0
    while True:
        page = await client.read_flow_runs(
            flow_filter=FlowFilter.model_validate({"name": {"any_": [GRID_TICK]}}),
            flow_run_filter=FlowRunFilter.model_validate(_never_began() | _due()),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_PAGE,
        )
        ids = [run.id for run in choose(page)]
        batches = [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
        gone = sum(await asyncio.gather(*(_delete(client, batch) for batch in batches)))
        deleted += gone
        if not gone or len(page) < _PAGE:
            return deleted


async def _delete(client: PrefectClient, ids: list[UUID]) -> int:
    """Delete the runs that still have not begun: another worker may have taken one of them."""
    return await delete_runs(client, _never_began() | {"id": {"any_": ids}})


async def delete_runs(client: PrefectClient, which: dict[str, object]) -> int:
    """Delete up to _BATCH runs by a filter; how many there were."""
    wanted = FlowRunFilter.model_validate(which)
    body = {"flow_runs": wanted.model_dump(mode="json", exclude_none=True), "limit": _BATCH}
    answer = await client.request("POST", "/flow_runs/bulk_delete", json=body)
    answer.raise_for_status()
    return len(answer.json()["deleted"])


def _never_began() -> dict[str, object]:
    return {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "start_time": {"is_null_": True}}


def _due() -> dict[str, object]:
    return {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}}


def _start(run: FlowRun) -> datetime:
    start: datetime = run.expected_start_time
    return start


def _account(run: FlowRun) -> str:
    return str((run.parameters or {}).get("account", MAIN_ACCOUNT))
