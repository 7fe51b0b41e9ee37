"""Final states for runs whose engine could not write one: cancelled, suspended, crashed, or without the server."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

CrashedState = Callable[[FlowRun, str], Awaitable[None]]


class EndedRuns:
    """Runs whose engine is done with them. Each is kept until Prefect knows its final state."""

    def __init__(self, propose_crashed: CrashedState) -> None:
        self._runs: dict[UUID, tuple[FlowRun, State | BaseException]] = {}
        self._suspended: set[UUID] = set()
        self._propose_crashed = propose_crashed

    @property
    def ids(self) -> frozenset[UUID]:
        """The runs that Prefect does not know as ended."""
        return frozenset(self._runs)

    def suspended(self, run_id: UUID) -> None:
        """An operator suspended the run while it ran."""
        self._suspended.add(run_id)

    def add(self, flow_run: FlowRun, ended: State | BaseException) -> None:
        """`ended`: what the engine returned."""
        self._runs[flow_run.id] = flow_run, ended

    async def settle(self, client: PrefectClient) -> None:
        """Settle every run. Raises what the server's client raises; the runs that are left are tried again later."""
        for run_id, (flow_run, ended) in list(self._runs.items()):
            with suppress(ObjectNotFound):  # an operator deleted the run
                await self._settle(client, flow_run, ended)
            self._runs.pop(run_id, None)
            self._suspended.discard(run_id)

    async def _settle(self, client: PrefectClient, flow_run: FlowRun, ended: State | BaseException) -> None:
        if flow_run.id in self._suspended:
            message = "Suspended: the window ended early, and the next one goes on."
            await client.set_flow_run_state(flow_run.id, Cancelled(message=message), force=True)
            return
        state = ended if isinstance(ended, State) else (await client.read_flow_run(flow_run.id)).state
        if state is None or state.is_final() or state.is_paused() or state.is_scheduled():
            return
        if state.type == StateType.CANCELLING:
            await client.set_flow_run_state(flow_run.id, Cancelled(message="Ended early on request."), force=True)
        else:
            await self._propose_crashed(flow_run, f"The run's engine ended without a final state: {ended!r}")
