"""What a worker does at the Prefect server beside running flows: pauses, deployments, orphaned runs, past windows."""

import asyncio
import logging
import time
from datetime import timedelta
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed
from redis.exceptions import RedisError

from flows.runtime.worker.deploy import mend
from flows.runtime.worker.deployments import planned_deployments
from flows.runtime.worker.guard import WindowGuard
from flows.runtime.worker.old_runs import OldRuns
from flows.runtime.worker.orphans import TakenRun, confirmed, orphans
from flows.runtime.worker.own_windows import keeps_house
from flows.runtime.worker.prefect_pauses import read_pauses
from tasks.base.clock import utc_now
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import GridflowError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.in_force import in_force
from tasks.tick.active_symbols import retiring_symbols
from tasks.tick.coverage import Coverage
from tasks.tick.heartbeat import read_workers
from tasks.tick.prefect_record import PrefectRecord, publish_mended, write_record

log = logging.getLogger(__name__)
_SECONDS = 15.0
_MOST_SECONDS = 60.0  # a round that takes longer hangs
_PAGE = 200
_TROUBLE = (httpx.HTTPError, PrefectException, RedisError, GridflowError, OSError, TimeoutError)


class Housekeeping:
    """Works each _SECONDS while Prefect answers, and at once when the guard must know the pauses."""

    def __init__(self, guard: WindowGuard, redis: RedisClient, account: str) -> None:
        self._guard, self._redis = guard, redis
        self._keys, self._names = Keys(account), DeploymentNames(account)
        self._suspects: dict[UUID, float] = {}
        self._told = ""
        self._old_runs = OldRuns()

    async def run(self) -> None:
        """Keep house until cancelled. What fails is tried again in the next round."""
        wanted = self._guard.must_read_pauses
        async with get_client() as client:
            while True:
                wanted.clear()
                if self._guard.watch.away_since is None:
                    try:
                        async with asyncio.timeout(_MOST_SECONDS):
                            await self._round(client)
                    except _TROUBLE as error:
                        facts = {"error": str(error) or type(error).__name__}
                        log.warning("housekeeping at the Prefect server failed; trying again", extra=facts)
                    except Exception:  # the next round must come, whatever failed in this one
                        log.exception("housekeeping at the Prefect server failed; trying again")
                with anyio.move_on_after(_SECONDS):
                    await wanted.wait()

    async def _round(self, client: PrefectClient) -> None:
        look = self._guard.look
        if look is None:
            return
        record = await self._read_pauses(client, look)
        await self._guard.past.record(client, self._names, utc_now())
        if keeps_house(look, self._guard.me):
            await self.mend(client, record)
            await self.end_orphans(client)
            deleted = await self._old_runs.delete(client, self._redis, self._names.account, self._names.pool, utc_now())
            if deleted:
                log.info("deleted runs that ended long ago", extra={"runs": deleted})
        else:
            self._suspects.clear()

    async def _read_pauses(self, client: PrefectClient, look: Coverage) -> PrefectRecord:
        """Read the pauses for the guard and the status."""
        asked_at = asyncio.get_running_loop().time()
        record = await read_pauses(client, self._names.account, look.symbols, look.record)
        await write_record(self._redis, self._keys, record)
        self._guard.pauses_read_at = asked_at
        if record.limit_note != self._told:
            self._told = record.limit_note
            if self._told:
                log.warning(self._told)
        return record

    async def mend(self, client: PrefectClient, record: PrefectRecord) -> None:
        """Restore the account's work pool and deployments as the settings in force want them."""
        found = await in_force(self._redis, self._guard.trading.settings, only_look=True)
        retiring = await retiring_symbols(self._redis, self._keys, found.settings)
        paused = {self._names.tick(symbol) for symbol in record.paused}
        planned = planned_deployments(found.settings, retiring)
        mended = await mend(client, planned, self._names.account, lambda plan: plan.full_name in paused)
        if mended:
            log.warning("mended at the Prefect server", extra={"what": "; ".join(mended)})
            await publish_mended(self._redis, self._keys, mended)

    async def end_orphans(self, client: PrefectClient) -> None:
        """Give the runs of workers that are gone a final state."""
        window = timedelta(seconds=self._guard.trading.settings.trading.window_seconds)
        runs = {run.id: run for run in await _taken_runs(client, self._names.pool)}
        taken = [_taken(run, window) for run in runs.values()]
        workers = await read_workers(self._redis, self._keys)
        found = orphans(taken, workers, self._guard.me, self._guard.runs, utc_now())
        for run_id in confirmed(found, self._suspects, time.monotonic()):
            await _end(client, runs[run_id])


async def _taken_runs(client: PrefectClient, pool: str) -> list[FlowRun]:
    """The pool's runs that a worker has taken, and that have not ended."""
    states = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": states}}}),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


def _taken(run: FlowRun, window: timedelta) -> TakenRun:
    since = run.state.timestamp if run.state is not None else run.expected_start_time
    over_at = run.expected_start_time + window + timedelta(seconds=60)
    return TakenRun(run.id, since, run.infrastructure_pid, over_at)


async def _end(client: PrefectClient, run: FlowRun) -> None:
    message = "The worker that ran this flow run is gone."
    was_cancelling = run.state is not None and run.state.type in (StateType.CANCELLING, StateType.PAUSED)
    state = Cancelled(message=message) if was_cancelling else Crashed(message=message)
    try:
        await client.set_flow_run_state(run.id, state, force=True)
    except ObjectNotFound:  # an operator deleted it meanwhile
        return
    log.warning("ended a run whose worker is gone", extra={"run": str(run.id), "flow_run": run.name})
