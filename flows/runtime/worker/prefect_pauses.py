"""Reads at the Prefect server what an operator paused there, and the limits of the account's work pool."""

from collections.abc import Iterable, Mapping

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.runtime.worker.deploy import existing_deployments
from tasks.base.clock import to_ms, utc_now
from tasks.base.deployment_names import GRID_TICK, DeploymentNames
from tasks.tick.prefect_record import PrefectRecord

_OTHER_RUNS = 1  # beside one window of each symbol: a rebalance, the status or a stop


async def read_pauses(
    client: PrefectClient, account: str, symbols: Iterable[str], before: PrefectRecord | None
) -> PrefectRecord:
    """The record as the server has it now. What was deleted there keeps what `before` says of it."""
    names = DeploymentNames(account)
    found = dict(await existing_deployments(client, {GRID_TICK}))
    is_pool_paused, limit = await _pool(client, names.pool, before)
    known = list(symbols)
    paused = [symbol for symbol in known if _is_paused(symbol, found, names, before)]
    return PrefectRecord(
        at_ms=to_ms(utc_now()),
        pool_paused=is_pool_paused,
        paused=tuple(sorted(paused)),
        limit=limit,
        needed=len(known) + _OTHER_RUNS,
    )


async def _pool(client: PrefectClient, name: str, before: PrefectRecord | None) -> tuple[bool, int | None]:
    """Whether the pool is paused, or all of its queues are; and its lowest concurrency limit."""
    try:
        pool = await client.read_work_pool(name)
        queues = await client.read_work_queues(work_pool_name=name)
    except ObjectNotFound:
        return before is not None and before.pool_paused, None
    limits = [one.concurrency_limit for one in (pool, *queues) if one.concurrency_limit is not None]
    all_paused = bool(queues) and all(queue.is_paused for queue in queues)
    return bool(pool.is_paused) or all_paused, min(limits, default=None)


def _is_paused(
    symbol: str, found: Mapping[str, DeploymentResponse], names: DeploymentNames, before: PrefectRecord | None
) -> bool:
    deployment = found.get(names.tick(symbol))
    if deployment is None:
        return before is not None and symbol in before.paused
    schedules = deployment.schedules
    return bool(deployment.paused) or (bool(schedules) and not any(each.active for each in schedules))
