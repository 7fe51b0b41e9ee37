"""What the one-machine stack's only worker does before it takes runs: clear away what an earlier one left, begin now.

Windows are safe to lose, repeat and double (leases), so this only keeps the records honest and the first tick early.
"""

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Scheduled

from flows.runtime.worker.deployments import PlannedDeployment
from flows.runtime.worker.overdue import delete_due_windows
from tasks.base.deployment_names import GRID_TICK

_PAGE = 200


async def clear_left_overs(pool: str) -> None:
    """Record runs that a killed worker held as crashed; delete windows that are due and never began."""
    async with get_client() as client:
        for run in await _held_runs(client, pool):
            crashed = Crashed(message="The worker that held this run was ended before the run was.")
            await client.set_flow_run_state(run.id, crashed, force=True)
        await delete_due_windows(client, pool, choose=list)


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


async def _held_runs(client: PrefectClient, pool: str) -> list[FlowRun]:
    held = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": held}}}),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
