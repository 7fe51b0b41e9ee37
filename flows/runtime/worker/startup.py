"""What the one-machine stack's worker does before it takes runs: delete late windows, start one of each symbol now.

Leases make lost, repeated and doubled windows harmless. This only keeps Prefect's records correct and the first tick
early.
"""

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from flows.runtime.worker.deployments import PlannedDeployment
from flows.runtime.worker.overdue import delete_due_windows
from tasks.base.deployment_names import GRID_TICK


async def delete_late_windows(pool: str) -> None:
    """Delete windows that are due and never began. Runs of an earlier worker end later, once it is surely gone."""
    async with get_client() as client:
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
