"""prefect.yaml, written from the settings: what `gridflow deploy` deploys, for `prefect deploy --all`. Pure."""

import json

from flows.runtime.worker.deployments import POOL_TYPE, PlannedDeployment, planned_deployments
from tasks.base.deployment_names import DeploymentNames
from tasks.settings.model import Settings

_HEAD = """\
# The deployments of {symbols}, the same that `gridflow deploy` makes.
# Written by `gridflow deploy --write-yaml`. With other symbols, another window length or an account other than `main`,
# use `gridflow deploy`, which reads gridflow.toml, or write this file again.
#
#   prefect work-pool create {pool} --type {type}
#   prefect deploy --all
#
# Entry points are module paths, so the worker imports the installed package. Every schedule has a slug and a fixed
# anchor: a later deploy updates it in place, keeps its active flag and does not move the windows.
# `prefect deploy` resumes a deployment that was paused as a whole (Prefect sends `paused: false` for a missing key).
# `gridflow deploy` does not; with `prefect deploy`, switch off the schedule instead, or use `gridflow pause`.
name: gridflow
prefect-version: 3.9.1
pull: []

definitions:
  pools:
    gridflow: &gridflow
      name: {pool}

deployments:
"""
_TRIGGER = """\
    # Prefect can start this deployment by itself, here when the usage of two symbols drifts apart. Gridflow's workers
    # rebalance then anyway, so this is an example of how to act on an incident. Other incidents are
    # gridflow.funds.drift, gridflow.order.unknown, gridflow.stop.fired and gridflow.lease.lost.
    # triggers:
    #   - type: event
    #     enabled: true
    #     match: {{prefect.resource.id: gridflow.account.{account}}}
    #     expect: [gridflow.usage.drift]
    #     parameters: {{force: true, reason: manual, account: {account}}}
"""


def prefect_yaml(settings: Settings) -> str:
    """The text of the file."""
    names = DeploymentNames(settings.account)
    head = _HEAD.format(symbols=", ".join(settings.symbols), pool=names.pool, type=POOL_TYPE)
    trigger = {names.rebalance_manual: _TRIGGER.format(account=settings.account)}
    plans = planned_deployments(settings)
    return head + "".join(_deployment(plan) + trigger.get(plan.full_name, "") for plan in plans)


def _deployment(plan: PlannedDeployment) -> str:
    lines = [
        f"  - name: {plan.name}",
        f"    entrypoint: {plan.entrypoint}",
        f"    parameters: {_flow(plan.parameters)}",
        f"    tags: {json.dumps(list(plan.tags))}",
        "    work_pool: *gridflow",
    ]
    if plan.every is None:
        return "\n".join([*lines, "    schedules: []"]) + "\n"
    anchor = json.dumps(plan.every.anchor.isoformat())
    schedule = f"slug: {plan.every.slug}, interval: {plan.every.seconds}, anchor_date: {anchor}, timezone: UTC"
    return "\n".join([*lines, "    schedules:", f"      - {{{schedule}}}"]) + "\n"


def _flow(values: dict[str, object]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items()) + "}"
