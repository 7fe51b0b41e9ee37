"""What the one-machine stack's only worker does before it takes runs: clear away what an earlier one left, begin now.

Windows are safe to lose, repeat and double (leases), so this only keeps the records honest and the first tick early.
"""

from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Scheduled

from flows.runtime.plan import PlannedDeployment
from tasks.base.deployment_names import GRID_TICK

_PAGE = 200


async def clear_left_overs(pool: str) -> None:
    """Runs that a killed worker held are recorded as crashed; windows that were never begun in time are deleted."""
    async with get_client() as client:
        held = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        for run in await _runs(client, pool, {"state": {"type": {"any_": held}}}):
            crashed = Crashed(message="The worker that held this run was ended before the run was.")
            await client.set_flow_run_state(run.id, crashed, force=True)
        overdue = {"before_": datetime.now(UTC).isoformat()}
        late = {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "expected_start_time": overdue}
        for run in await _runs(client, pool, late, flow_name=GRID_TICK):
            await client.delete_flow_run(run.id)


async def start_first_windows(planned: list[PlannedDeployment]) -> None:
    """Start a window now for every grid-tick deployment that is not paused; the schedule may be a window away."""
    async with get_client() as client:
        for plan in planned:
            if plan.flow_name != GRID_TICK:
                continue
            try:
                deployment = await client.read_deployment_by_name(plan.full_name)
            except ObjectNotFound:  # an operator was faster than we
                continue
            if not deployment.paused:
                await client.create_flow_run_from_deployment(deployment.id, state=Scheduled())


async def _runs(
    client: PrefectClient, pool: str, wanted: dict[str, Any], flow_name: str | None = None
) -> list[FlowRun]:
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_filter=FlowFilter.model_validate({"name": {"any_": [flow_name]}}) if flow_name else None,
            flow_run_filter=FlowRunFilter.model_validate(wanted),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
