"""Deletes runs from the Prefect server that ended long ago, where `gridflow deploy --retention` asked for it.

Gridflow's own server does this itself. Logs go with their run. Events stay for as long as the server's settings say.
"""

import time
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import TERMINAL_STATES
from pydantic import TypeAdapter

from flows.runtime.worker.overdue import delete_runs
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.tick.prefect_record import read_retention

_EVERY_SECONDS = 3600.0
_BATCH = 50
_BATCHES_A_ROUND = 20  # the other work of the house must not wait for it


class OldRuns:
    """Looks once an hour, and goes on at the next call while there is more to delete."""

    def __init__(self) -> None:
        self._next = 0.0

    async def delete(self, client: PrefectClient, redis: RedisClient, account: str, pool: str, now: datetime) -> int:
        """Delete what is due, a bounded number; how many runs."""
        if time.monotonic() < self._next:
            return 0
        days = await read_retention(redis, Keys(account))
        deleted = await _delete_batches(client, pool, now - timedelta(days=days)) if days else 0
        if deleted < _BATCHES_A_ROUND * _BATCH:  # nothing is left
            self._next = time.monotonic() + _EVERY_SECONDS
        return deleted


async def events_kept() -> str:
    """How long the Prefect server keeps events, in words: only its own settings decide that."""
    async with get_client() as client:
        answer = await client.request("GET", "/admin/settings")
        server = answer.raise_for_status().json()["server"]
    setting = "PREFECT_SERVER_EVENTS_RETENTION_PERIOD"
    if "events" not in (server["services"]["db_vacuum"]["enabled"] or ()):
        return "ever: set PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events at the server"
    kept = TypeAdapter(timedelta).validate_python(server["events"]["retention_period"])
    hours = kept / timedelta(hours=1)
    return f"{hours:.0f} hours ({setting} of the server)"


async def _delete_batches(client: PrefectClient, pool: str, ended_before: datetime) -> int:
    deleted = 0
    for _ in range(_BATCHES_A_ROUND):
        gone = await _delete_batch(client, pool, ended_before)
        deleted += gone
        if gone < _BATCH:
            break
    return deleted


async def _delete_batch(client: PrefectClient, pool: str, ended_before: datetime) -> int:
    which: dict[str, object] = {
        "state": {"type": {"any_": sorted(TERMINAL_STATES)}},
        "end_time": {"before_": ended_before.isoformat()},
    }
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(which),
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        limit=_BATCH,
    )
    ids = [run.id for run in found]
    return await delete_runs(client, which | {"id": {"any_": ids}}) if ids else 0
