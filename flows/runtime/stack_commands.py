"""`gridflow stop`, `status` and `deploy`: commands about what runs."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import click

from flows.runtime import state as stack_state
from flows.runtime.left_overs import end_left_overs, living
from flows.runtime.options import (
    common_options,
    json_option,
    left_over_stack,
    prefect_api,
    redis_client,
    running_stack,
)
from flows.runtime.plan import planned_deployments
from flows.runtime.prefect_server import common_environment
from flows.runtime.processes import Identity
from flows.runtime.runs import run_deployment
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import StackError
from tasks.base.settings import configured_prefect_api, load, override_environment, state_dir

_POLL_SECONDS = 0.2


@click.command()
@common_options
@click.option("--timeout", "seconds", type=click.FloatRange(min=1), default=180, show_default=True, help="Seconds.")
def stop(config: Path | None, state: Path | None, seconds: float) -> None:
    """Stop trading in order: wait for orders in flight, cancel open orders, save.

    Ends the one-machine stack, or what a killed one left over; without either, runs the deployment
    graceful-stop/manual of your own Prefect server.
    """
    settings = load(config)
    stack = running_stack(state)
    left = left_over_stack(state)
    api = configured_prefect_api()
    if stack is not None:
        _stop_stack(stack, seconds)
    elif left is not None:
        _stop_left_overs(left, state_dir(state), seconds)
    elif api is not None:
        _stop_by_deployment(api, settings.account, seconds)
    else:
        raise StackError(f"No stack runs on {state_dir(state)} and PREFECT_API_URL is not set: nothing to stop")


def _stop_stack(stack: stack_state.StackRecord, seconds: float) -> None:
    os.kill(stack.parent.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while stack.parent.is_alive():
        if time.monotonic() > deadline:
            raise StackError(f"The stack (pid {stack.parent.pid}) did not end within {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
    click.echo("Stopped.")


def _stop_left_overs(left: stack_state.StackRecord, folder: Path, seconds: float) -> None:
    with stack_state.sole_owner(folder):  # an `up` that starts now would take over the same processes
        in_order = end_left_overs(left, lambda line: click.echo(line, err=True), seconds)
        stack_state.record_path(folder).unlink(missing_ok=True)
    if not in_order:
        raise StackError("All has ended, but the worker not by itself: orders may be open. `gridflow up` finds them")
    click.echo("Stopped.")


def _stop_by_deployment(api: str, account: str, seconds: float) -> None:
    ended = run_deployment(api, DeploymentNames(account).graceful_stop, seconds)
    click.echo(f"Graceful stop: {ended.state}" + (f" ({ended.message})" if ended.message else ""))
    if not ended.ok:
        raise SystemExit(1)


@click.command()
@common_options
@json_option
def status(config: Path | None, state: Path | None, as_json: bool) -> None:
    """Show money, grids and orders as Redis holds them now."""
    settings = load(config)
    stack = running_stack(state)
    left = living(killed) if (killed := left_over_stack(state)) else {}
    if left:
        click.echo(_left_over_text(left), err=True)

    async def work() -> None:
        from tasks.views.steps import read_status

        async with redis_client(settings, state) as redis:
            view = await read_status(settings, redis)
        if as_json:
            urls = stack.urls if stack else {}
            pids = {name: process.pid for name, process in left.items()}
            click.echo(json.dumps(view.model_dump(mode="json") | {"urls": urls, "left_over": pids}))
            return
        from rich.console import Console

        from tasks.views.render import status_table

        Console().print(status_table(view))

    asyncio.run(work())


def _left_over_text(left: Mapping[str, Identity]) -> str:
    names = ", ".join(f"{name} (pid {process.pid})" for name, process in left.items())
    return (
        f"`gridflow up` was killed; left over: {names}.\n"
        "The next `gridflow up` takes over from them; `gridflow stop` ends them in order."
    )


@click.command()
@common_options
def deploy(config: Path | None, state: Path | None) -> None:
    """Create or update the Prefect deployments; what an operator paused stays paused."""
    settings = load(config)
    api = prefect_api(state)
    if running_stack(state) is not None:
        override_environment(common_environment(state_dir(state) / "prefect", api))
    from flows.runtime.deploy import deploy as deploy_all  # imports Prefect, which reads the environment

    report = asyncio.run(deploy_all(planned_deployments(settings), settings.account))
    for what in ("created", "changed", "removed", "unchanged"):
        for name in getattr(report, what):
            click.echo(f"{what:9} {name}")
