"""Create, update and delete the account's deployments on the Prefect server; only differences are written.

A deployment's pause switch and a schedule's active flag belong to the operator: they are set when a deployment is
created and never sent again.

Several accounts may use one server. A deployment belongs to the account in its parameter `account`. Earlier versions
set no such parameter and used the pool `gridflow` only: such a deployment belongs to account `main`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.runtime.worker.deployments import POOL_TYPE, Every, PlannedDeployment
from flows.runtime.worker.engine import load_flow
from flows.runtime.worker.job_configuration import job_template
from tasks.base.deployment_names import GRID_TICK, MAIN_ACCOUNT, DeploymentNames

_PAGE = 200
# What decides whether a run does what it should.
_MENDED = frozenset({"entrypoint", "parameters", "work_pool_name", "path", "pull_steps", "enforce_parameter_schema"})


@dataclass
class DeployReport:
    """Full names of what was created, changed, removed, and left as it was."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)  # changed deployment → the fields that were written


async def deploy(
    planned: list[PlannedDeployment], account: str = MAIN_ACCOUNT, unmarked_owner: str = MAIN_ACCOUNT
) -> DeployReport:
    """Create the account's work pool and every planned deployment, update those that differ, delete obsolete ones.

    Obsolete are the account's windows of symbols that are not planned, and its deployments under names of an earlier
    version. `unmarked_owner`: the account that owns deployments without an account parameter.
    """
    report = DeployReport()
    pool = DeploymentNames(account).pool
    async with get_client() as client:
        await _ensure_pool(client, pool)
        existing = dict(await existing_deployments(client, {plan.flow_name for plan in planned}))
        for plan in planned:
            await _apply(client, plan, pool, existing.get(plan.full_name), report)
        wanted = {plan.full_name for plan in planned}
        for full, found in existing.items():
            if full not in wanted and _is_removable(full) and _owner(found, unmarked_owner) == account:
                await _delete(client, found)
                report.removed.append(full)
    return report


async def mend(
    client: PrefectClient, planned: list[PlannedDeployment], account: str, paused: Callable[[PlannedDeployment], bool]
) -> list[str]:
    """Restore what was deleted or changed by somebody else; what was restored, in words.

    Unlike `deploy` it removes nothing, and leaves descriptions and versions alone: a worker of another version may
    have deployed. `paused`: whether a deleted deployment was paused, and so is created paused.
    """
    names = DeploymentNames(account)
    mended = [f"work pool {names.pool} created"] if await _ensure_pool(client, names.pool) else []
    existing = dict(await existing_deployments(client, {plan.flow_name for plan in planned}))
    for plan in planned:
        found = existing.get(plan.full_name)
        report = DeployReport()
        await _apply(client, plan, names.pool, found, report, only=_MENDED, paused=found is None and paused(plan))
        mended += [f"{name} created" for name in report.created]
        mended += [f"{name} restored ({', '.join(fields)})" for name, fields in report.fields.items() if fields]
    return mended


async def remove_tick_deployment(settings_account: str, symbol: str) -> bool:
    """Delete the account's grid-tick deployment of `symbol`; whether there was one."""
    async with get_client() as client:
        try:
            found = await client.read_deployment_by_name(DeploymentNames(settings_account).tick(symbol))
        except ObjectNotFound:
            return False
        return _owner(found, settings_account) == settings_account and await _delete(client, found)


def _owner(found: DeploymentResponse, unmarked_owner: str) -> str | None:
    """The account a deployment belongs to; None for one that Gridflow did not make."""
    account = (found.parameters or {}).get("account")
    if account is not None:
        return str(account)
    return unmarked_owner if found.work_pool_name == DeploymentNames(MAIN_ACCOUNT).pool else None


def _is_removable(full_name: str) -> bool:
    """Whether deploying may delete it at all: not what an operator added beside Gridflow's own."""
    return full_name.startswith(f"{GRID_TICK}/") or full_name in DeploymentNames(MAIN_ACCOUNT).without_symbol


async def _delete(client: PrefectClient, found: DeploymentResponse) -> bool:
    try:
        await client.delete_deployment(found.id)
    except ObjectNotFound:  # another machine did the same at this moment
        return False
    return True


async def _ensure_pool(client: PrefectClient, name: str) -> bool:
    """Create the work pool where it is missing; whether it was."""
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        pool = WorkPoolCreate(name=name, type=POOL_TYPE, base_job_template=job_template())
        try:
            await client.create_work_pool(pool)
        except ObjectAlreadyExists:  # another machine did the same at this moment
            return False
        return True
    return False


async def existing_deployments(client: PrefectClient, flow_names: set[str]) -> list[tuple[str, DeploymentResponse]]:
    """Every deployment of these flows, of all accounts, with its full name."""
    by_name = FlowFilter.model_validate({"name": {"any_": sorted(flow_names)}})
    names = {flow.id: flow.name for flow in await client.read_flows(flow_filter=by_name)}
    found: list[DeploymentResponse] = []
    while True:
        page = await client.read_deployments(flow_filter=by_name, limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return [(f"{names[each.flow_id]}/{each.name}", each) for each in found if each.flow_id in names]


async def _apply(
    client: PrefectClient,
    plan: PlannedDeployment,
    pool: str,
    existing: DeploymentResponse | None,
    report: DeployReport,
    only: frozenset[str] | None = None,
    paused: bool = False,
) -> None:
    """`only`: the fields of an existing deployment that are compared; all where absent. `paused`: for a new one."""
    flow = load_flow(plan.entrypoint)
    wanted: dict[str, Any] = {
        "version": flow.version,
        "description": flow.description,
        "entrypoint": plan.entrypoint,
        "parameters": plan.parameters,
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "work_pool_name": pool,
        "job_variables": {},
        "tags": list(plan.tags),
        "path": None,
        "pull_steps": [],
        "enforce_parameter_schema": True,
    }
    if existing is None:
        flow_id = await client.create_flow_from_name(flow.name)
        schedules = [DeploymentScheduleCreate(**_schedule(plan.every), active=True)] if plan.every else []
        await client.create_deployment(flow_id, plan.name, schedules=schedules, paused=paused, **wanted)
        report.created.append(plan.full_name)
        return
    compared = {name: value for name, value in wanted.items() if only is None or name in only}
    changes = {name: value for name, value in compared.items() if getattr(existing, name) != value}
    if changes:
        await client.update_deployment(existing.id, DeploymentUpdate(**changes))
    moved = plan.every is not None and await _apply_schedule(client, plan.every, existing)
    report.fields[plan.full_name] = [*changes, *(["schedule"] if moved else [])]
    (report.changed if changes or moved else report.unchanged).append(plan.full_name)


async def _apply_schedule(client: PrefectClient, every: Every, existing: DeploymentResponse) -> bool:
    """Update our schedule, known by its slug. Schedules that an operator added stay as they are."""
    ours = next((each for each in existing.schedules if each.slug == every.slug), None)
    if ours is None:
        await client.create_deployment_schedules(
            existing.id, [DeploymentScheduleCreate(**_schedule(every), active=True)]
        )
        return True
    wanted = _schedule(every)["schedule"]
    found = ours.schedule
    same_anchor = isinstance(found, IntervalSchedule) and found.anchor_date == wanted.anchor_date
    if same_anchor and found.interval == wanted.interval:
        return False
    await client.update_deployment_schedule(existing.id, ours.id, schedule=wanted)
    return True


def _schedule(every: Every) -> dict[str, Any]:
    interval = IntervalSchedule(interval=timedelta(seconds=every.seconds), anchor_date=every.anchor, timezone="UTC")
    return {"schedule": interval, "slug": every.slug}
