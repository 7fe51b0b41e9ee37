"""The `gridflow` worker: Prefect schedules and records the flow runs, this process runs them.

A stock process worker starts a Python process per flow run, which costs seconds of CPU. Here a run costs a thread:
the flow is imported once, its engine runs in a thread of its own, and the worker's event loop only talks to the API.
What depends on internals of Prefect 3.9 is in this file and in `engine`.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import anyio.to_thread
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS
from prefect.states import Failed, Scheduled
from prefect.workers.base import BaseVariables, BaseWorker, BaseWorkerResult

from flows.runtime.worker.deployments import POOL_TYPE
from flows.runtime.worker.ended_runs import EndedRuns
from flows.runtime.worker.engine import load_flow, parameter_problem, run_engine, send_waiting_records
from flows.runtime.worker.guarding import Guarding
from flows.runtime.worker.job_configuration import GridflowJobConfiguration
from flows.runtime.worker.orphans import mark_of
from flows.runtime.worker.overdue import delete_due_windows, overdue
from flows.runtime.worker.patient_loops import PatientLoops
from flows.runtime.worker.renewal import RECYCLE_AFTER, give_memory_back, limit_arenas, start_afresh
from flows.runtime.worker.trading_side import OpenTrading, WorkerFacts, open_service
from tasks.base.deployment_names import GRID_TICK, DeploymentNames
from tasks.base.events import EventKind
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.tick import watchdog

log = logging.getLogger("gridflow.worker")  # the base class's logger is Prefect's
_MAX_THREADS = 1000
_CANCEL_POLL_SECONDS = 2.0
_SETTLE_SECONDS = 10.0
_TRIM_SECONDS = 60.0


def _request_stop() -> None:
    from flows.runtime.service import request_stop  # its stages are needed only where there is trading to do

    request_stop()


def _tell_failure(flow: str, flow_run: FlowRun, ended: State[Any] | BaseException) -> None:
    """Publish a run that failed or crashed. A cancelled one is no failure."""
    error = ended if isinstance(ended, BaseException) else _error_of(ended)
    if error is not None:
        from flows.runtime.service import tell_crash  # its stages are needed only where there is trading to do

        tell_crash(EventKind.FLOW_CRASHED, error, flow=flow, run=flow_run.name, run_id=str(flow_run.id))


def _error_of(state: State[Any]) -> BaseException | None:
    if not (state.is_failed() or state.is_crashed()):
        return None
    data = getattr(state.data, "result", state.data)
    return data if isinstance(data, BaseException) else RuntimeError(state.message or "no message")


def _close_trading() -> None:
    from flows.runtime.service import close_service

    close_service()


class GridflowWorkerResult(BaseWorkerResult):
    """How the run's thread ended: status 0 whenever Prefect knows the run's state."""


class GridflowWorker(BaseWorker[GridflowJobConfiguration, BaseVariables, GridflowWorkerResult]):
    """Runs flow runs inside its own process, one thread each; drains on SIGTERM."""

    type = POOL_TYPE
    job_configuration = GridflowJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name = "Gridflow"
    _description = "Runs Gridflow's flows in the worker's own process, a thread per run."

    def __init__(
        self,
        *args: Any,
        settings: Settings | None = None,
        request_stop: Callable[[], None] = _request_stop,
        trading: OpenTrading | None = open_service,
        recycle_after: int = RECYCLE_AFTER,
        start_afresh: Callable[[], None] | None = start_afresh,
        **kwargs: Any,
    ) -> None:
        """Create a worker.

        `settings`: the account and its window length; without them they are loaded when the worker starts.
        `trading`: opens the process's trading service, for windows that Prefect does not hand out; None: without them.
        `recycle_after`: drain after that many runs, because a process that runs the engine slowly grows, and call
        `start_afresh` then; without it the caller of `start` finds `recycling` true.
        """
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._flow_names: dict[UUID, str] = {}
        self._request_stop = request_stop
        self._runs_left = recycle_after
        self.recycling = False
        self._start_afresh = start_afresh
        self._trading = trading
        self._guarding = Guarding()
        self._cancel_flags: dict[UUID, threading.Event] = {}
        self._ended = EndedRuns(self._propose_crashed_state)
        self._loops = PatientLoops()
        self._draining = False
        self._drain_asked: anyio.Event | None = None
        self._threads = anyio.CapacityLimiter(_MAX_THREADS)

    # --- life of the worker ----------------------------------------------------------------------------
    async def start(
        self, run_once: bool = False, with_healthcheck: bool = False, printer: Callable[..., None] = print
    ) -> None:
        """Poll for runs and run them until drained. Unlike the base class, keep trying when the server is away."""
        if run_once:
            await super().start(run_once=True, with_healthcheck=with_healthcheck, printer=printer)
            return
        self._check_pool()
        self._drain_asked = anyio.Event()
        watchdog.enable()
        limit_arenas()
        self._drain_on_signals()
        account = self._own_settings().account
        guarding = self._guarding.running(self._trading, account, self._facts, self._loops.try_again_now)
        forever = self._loops.forever
        async with guarding, self, anyio.create_task_group() as loops:
            loops.start_soon(forever, self.get_and_submit_flow_runs, PREFECT_WORKER_QUERY_SECONDS.value())
            loops.start_soon(forever, self._sync_and_initialize, self.heartbeat_interval_seconds)
            loops.start_soon(forever, self._look_for_cancelling, _CANCEL_POLL_SECONDS)
            loops.start_soon(forever, self._settle, _SETTLE_SECONDS)
            loops.start_soon(forever, partial(anyio.to_thread.run_sync, give_memory_back), _TRIM_SECONDS)
            printer(f"Worker {self.name!r} started!")
            await self._drain_asked.wait()
            while self._submitting_flow_run_ids or self._cancel_flags or not self._guarding.is_idle:  # noqa: ASYNC110
                await anyio.sleep(0.05)
            loops.cancel_scope.cancel()
        printer(f"Worker {self.name!r} stopped!")
        if self.recycling and self._start_afresh is not None:
            await anyio.to_thread.run_sync(_close_trading)
            await send_waiting_records()
            if self.recycling:  # no signal has come meanwhile
                printer(f"Worker {self.name!r} starts afresh")
                self._start_afresh()

    def _facts(self) -> WorkerFacts:
        def runs() -> set[UUID]:
            return {*self._submitting_flow_run_ids, *self._cancel_flags, *self._ended.ids}

        return WorkerFacts(self.name, runs, lambda: self._draining)

    def drain(self) -> None:
        """Take no more runs, ask running windows to end early, leave `start` when the last one has ended."""
        if self._draining:
            return
        self._draining = True
        log.info("Draining", extra={"running": len(self._cancel_flags)})
        self._stop_windows()
        if self._drain_asked is not None:
            self._drain_asked.set()

    def _stop_windows(self) -> None:
        try:
            self._request_stop()
        except Exception:  # windows then end by the clock; the drain must go on
            log.exception("Could not ask running windows to end early")

    def _drain_on_signals(self) -> None:
        def on_signal() -> None:
            self.recycling = False  # a stop that comes while recycling is a stop
            self.drain()

        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, on_signal)

    def _count_run(self) -> None:
        if self._draining:
            return
        self._runs_left -= 1
        if self._runs_left <= 0:
            self.recycling = True
            self.drain()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self._draining else await super().get_and_submit_flow_runs()

    # --- overdue windows --------------------------------------------------------------------------------
    def _own_settings(self) -> Settings:
        if self._settings is None:
            self._settings = load()
        return self._settings

    def _check_pool(self) -> None:
        account = self._own_settings().account
        own = DeploymentNames(account).pool
        if own != self._work_pool_name:
            log.warning(
                "This worker trades account %r, whose work pool is %r, but polls %r. It refuses runs of other accounts",
                account,
                own,
                self._work_pool_name,
            )

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """The runs to submit. Overdue windows are deleted first, all of them, so that the newest are traded at once.

        Without an overdue window in the server's answer this makes no further API call.
        """
        found: list[WorkerFlowRunResponse] = await super()._get_scheduled_flow_runs()
        if not await self._overdue_windows(found):
            return found
        deleted = await delete_due_windows(self.client, self._work_pool_name, self._overdue)
        if deleted:
            log.warning("Deleted %d overdue windows that no worker began in time", deleted)
        found = await super()._get_scheduled_flow_runs()
        still_overdue = await self._overdue_windows(found)
        return [entry for entry in found if entry.flow_run.id not in still_overdue]

    async def _overdue_windows(self, found: list[WorkerFlowRunResponse]) -> set[UUID]:
        late = self._overdue([entry.flow_run for entry in found])
        return {run.id for run in late if await self._flow_name(run.flow_id) == GRID_TICK}

    def _overdue(self, runs: Iterable[FlowRun]) -> list[FlowRun]:
        settings = self._own_settings()
        window = timedelta(seconds=settings.trading.window_seconds)
        untouched = [run for run in runs if run.id not in self._submitting_flow_run_ids]
        return overdue(untouched, settings.account, window, datetime.now(UTC))

    async def _flow_name(self, flow_id: UUID) -> str:
        """Read once per flow, and only for flows that have a late run."""
        if flow_id not in self._flow_names:
            self._flow_names[flow_id] = (await self.client.read_flow(flow_id)).name
        return self._flow_names[flow_id]

    # --- life of a run ---------------------------------------------------------------------------------
    async def run(
        self,
        flow_run: FlowRun,
        configuration: GridflowJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> GridflowWorkerResult:
        flag = self._cancel_flags[flow_run.id] = threading.Event()
        try:
            if configuration._entrypoint is None:
                raise ValueError("the deployment has no entry point")
            flow = await anyio.to_thread.run_sync(load_flow, configuration._entrypoint, limiter=self._threads)
            if task_status is not None:
                guard = self._guarding.guard
                task_status.started(str(flow_run.id) if guard is None else mark_of(guard.me))
            if problem := parameter_problem(flow, flow_run):
                await self.client.set_flow_run_state(flow_run.id, Failed(message=problem), force=True)
            elif await self._is_to_begin(flow_run):
                ended = await anyio.to_thread.run_sync(run_engine, flow, flow_run, flag, limiter=self._threads)
                self._ended.add(flow_run, ended)
                await anyio.to_thread.run_sync(_tell_failure, flow.name, flow_run, ended, limiter=self._threads)
            else:
                await self._give_back(flow_run)
        finally:
            self._cancel_flags.pop(flow_run.id, None)
            self._count_run()
        await self._settle()
        return GridflowWorkerResult(status_code=0, identifier=str(flow_run.id))

    async def _is_to_begin(self, flow_run: FlowRun) -> bool:
        """Wait until the run's time, as it is fetched before. False once the worker drains."""
        wait = (flow_run.expected_start_time - datetime.now(UTC)).total_seconds()
        if wait > 0 and self._drain_asked is not None:
            with anyio.move_on_after(wait):
                await self._drain_asked.wait()
        return not self._draining

    async def _give_back(self, flow_run: FlowRun) -> None:
        """Let another worker run what this one has fetched and not begun."""
        again = Scheduled(scheduled_time=flow_run.expected_start_time, message="The worker that fetched it ends.")
        await self.client.set_flow_run_state(flow_run.id, again, force=True)

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        return not self._draining and await super()._propose_pending_state(flow_run)

    async def _settle(self) -> None:
        await self._ended.settle(self.client)

    # --- cancelling ------------------------------------------------------------------------------------
    async def _setup_cancellation_observer(self) -> None:
        """Not used: it watches only runs that have not started and holds a web socket for it."""

    async def _look_for_cancelling(self) -> None:
        """Ask runs to end that an operator cancelled or suspended. A suspended window ends like a cancelled one."""
        waiting = [run_id for run_id, flag in self._cancel_flags.items() if not flag.is_set()]
        if not waiting:
            return
        asked = [StateType.CANCELLING, StateType.PAUSED]
        wanted = {"id": {"any_": waiting}, "state": {"type": {"any_": asked}}}
        for found in await self.client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted)):
            if found.state is not None and found.state.type == StateType.PAUSED:
                self._ended.suspended(found.id)
            with suppress(KeyError):
                self._cancel_flags[found.id].set()

    # --- fewer API calls and events per run --------------------------------------------------------------
    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Skipped: a run starts at once, so the state between Pending and Running would last milliseconds."""

    def _emit_flow_run_submitted_event(self, configuration: GridflowJobConfiguration) -> None:
        """Skipped, and with it the event at the end: the server's own events of the run's states say the same."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Skipped: one worker type, one pool; the labels cost a write per run and tell nothing."""
