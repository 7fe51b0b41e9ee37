"""What the one-machine stack's worker does before it takes runs: settle stale runs, start a window of each symbol now.

Leases make lost, repeated and doubled windows harmless. This only keeps Prefect's records correct and the first tick
early.
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


async def crash_stale_runs(pool: str) -> None:
    """Set runs that a killed worker was running to Crashed; delete windows that are due and never began."""
    async with get_client() as client:
        for run in await _interrupted_runs(client, pool):
            crashed = Crashed(message="The worker that ran this flow run was ended before the run was.")
            await client.set_flow_run_state(run.id, crashed, force=True)
        await delete_due_windows(client, pool, choose=list)


async def start_windows_now(planned: list[PlannedDeployment]) -> None:
    """Start a window now for every grid-tick deployment that is not paused; the schedule may be a window away."""
    async with get_client() as client:
        for plan in planned:
            if plan.flow_name != GRID_TICK:
                continue
            try:
                deployment = await client.read_deployment_by_name(plan.full_name)
            except ObjectNotFound:  # an operator deleted it meanwhile
                continue
            if not deployment.paused:
                await client.create_flow_run_from_deployment(deployment.id, state=Scheduled())


async def _interrupted_runs(client: PrefectClient, pool: str) -> list[FlowRun]:
    interrupted = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": interrupted}}}),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
