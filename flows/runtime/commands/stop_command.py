"""`gridflow stop`: ends trading in order, or everything at once, and lists the orders that are left."""

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import click

from flows.runtime.commands.connections import (
    Progress,
    check_prefect,
    is_durable,
    note_durable,
    redis_client,
    run_with_redis,
)
from flows.runtime.commands.option_types import Seconds
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from flows.runtime.stack import children
from flows.runtime.stack import record as record_file
from flows.runtime.stack.processes import resume
from flows.runtime.stack.stale_processes import end_stale_processes, kill_stack, living_in_order
from flows.runtime.stack.stop_report import (
    UNKNOWN,
    StopResult,
    is_compared,
    keep_orders_file,
    last_stop_file,
    open_orders_file,
    read_orders,
    read_result,
    worker_stop_file,
    write_result,
)
from tasks.base.errors import StackError
from tasks.base.redis_client import RedisClient
from tasks.control import runs
from tasks.control.prefect_runs import PrefectRuns
from tasks.settings.environment import configured_prefect_api, override_environment, state_dir
from tasks.settings.load import CONFIG_VARIABLE
from tasks.settings.model import Settings
from tasks.settings.running import StackRecord, read_record, record_path, running_stack, stale_stack

_POLL_SECONDS = 0.2
_TRY_SECONDS = 5.0  # how long `--force` waits for an orderly end
_READ_SECONDS = 4.0


@click.command()
@common_options
@json_option
@click.option("--timeout", "seconds", type=Seconds(1), default=180, show_default=True, help="Seconds.")
@click.option(
    "--force",
    is_flag=True,
    help="Wait 5 s for an orderly end, then kill everything; lists open orders.",
)
@click.option("--keep-orders", "keep", is_flag=True, help="End the one-machine stack and leave its open orders.")
def stop(config: Path | None, state: Path | None, as_json: bool, seconds: float, force: bool, keep: bool) -> None:
    """Stop trading in order: wait for orders in flight, cancel open orders, save.

    Ends the one-machine stack, or what is left of a killed one. Without either it runs the deployment
    graceful-stop/manual on your own Prefect server; with --force it stops the pot in Redis instead. Exit code 0 only
    when trading stopped and no order is open. Safe to run again: it finishes a stop that was killed.
    """
    settings = settings_in_force(config, state)
    stack, stale, api = running_stack(state), stale_stack(state), configured_prefect_api()
    folder = state_dir(state)
    if keep:
        _keep_orders(folder, force, is_there=stack is not None or stale is not None)
    if stack is not None:
        result = _force(stack, settings, state) if force else _stop_stack(stack, folder, seconds)
    elif stale is not None:
        result = _force(stale, settings, state) if force else _stop_stale(stale, folder, seconds, config)
    elif force:
        result = _stop_by_redis(settings, state, seconds)
    elif api is not None:
        result = _stop_by_deployment(api, settings, state, seconds)
    elif (before := _stopped_before(folder)) is not None:
        click.echo("The stack has stopped already.", err=True)
        result = before
    else:
        raise StackError(f"No stack runs on {folder} and PREFECT_API_URL is not set: nothing to stop")
    _print(result, as_json)


def _keep_orders(folder: Path, force: bool, is_there: bool) -> None:
    """Tell the stack's worker to leave open orders. Raises StackError where it would not help."""
    if force:
        raise StackError("--force cancels no order: leave --keep-orders out")
    if not is_there:
        raise StackError(
            f"--keep-orders ends a one-machine stack, and none runs on {folder}. On your own server end the workers: "
            "their orders stay. `gridflow pause` stops new buys"
        )
    keep_orders_file(folder).touch()


def _stopped_before(folder: Path) -> StopResult | None:
    """How the newest stack ended, if nobody has started one since."""
    try:
        started = str(json.loads(last_stop_file(folder).read_text(encoding="utf-8"))["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return read_result(last_stop_file(folder), started)


def _print(result: StopResult, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.as_json()))
    elif result.is_clean:
        click.echo("Stopped.")
    if not result.is_clean:
        head = "Stopped" if result.stopped else "Ended, but trading was not stopped in order"
        click.echo(f"{head}. {result.text()}", err=True)
        raise SystemExit(1)


def _ask_to_end(stack: StackRecord) -> None:
    with suppress(ProcessLookupError):
        os.kill(stack.parent.pid, signal.SIGTERM)
        resume(stack.parent.pid)


def _stop_stack(stack: StackRecord, folder: Path, seconds: float) -> StopResult:
    _ask_to_end(stack)
    progress = Progress()
    deadline = time.monotonic() + seconds
    while stack.is_running:
        if time.monotonic() > deadline:
            known = read_result(open_orders_file(folder)) or UNKNOWN
            why = f"The stack (pid {stack.parent.pid}) did not end within {seconds:.0f} s and goes on ending"
            raise StackError(f"{why}. `gridflow stop --force` ends everything at once. {known.text()}")
        progress.report(_waited_for(folder))
        time.sleep(_POLL_SECONDS)
    return read_result(last_stop_file(folder), stack.started) or UNKNOWN


def _waited_for(folder: Path) -> str:
    now = read_record(folder)
    if now is None:
        return "the stack to end"
    silent = "".join(f"; {name} does not answer since {since}" for name, since in now.silent.items())
    return (now.stopping or "the stack to begin its stop") + silent


def _stop_stale(stale: StackRecord, folder: Path, seconds: float, config: Path | None) -> StopResult:
    """End what a killed stack left. Where its worker is gone, another process cancels the open orders first."""
    with record_file.sole_owner(folder):  # an `up` that starts now would take over the same processes
        progress = Progress()
        finished = children.WORKER not in stale.living() and _finish_stop(stale, folder, seconds, config)
        ended = end_stale_processes(stale, lambda line: click.echo(line, err=True), seconds, progress.report)
        record_path(folder).unlink(missing_ok=True)
        keep_orders_file(folder).unlink(missing_ok=True)
    in_order = finished or ended
    reported = read_result(worker_stop_file(folder)) if in_order else None
    known = reported or read_result(open_orders_file(folder)) or UNKNOWN
    result = StopResult(reported is not None or in_order, known.orders_open, known.reserved, known.as_of, known.kept)
    write_result(last_stop_file(folder), result, stale.started)
    return result


def _finish_stop(stale: StackRecord, folder: Path, seconds: float, config: Path | None) -> bool:
    """Run the stack's worker once more, only to cancel open orders and book their fills; whether it could."""
    if children.VALKEY in stale.processes and children.VALKEY not in stale.living():
        return False  # its Redis is gone; the next `gridflow up` cancels them
    click.echo("The worker was killed; another process cancels the open orders", err=True)
    override_environment({"GRIDFLOW_LIVE": str(stale.settings.get("live", False)).lower()})
    if config is not None:
        override_environment({CONFIG_VARIABLE: str(config.absolute())})
    port = urlsplit(stale.prefect_api).port or 0
    child = children.worker(folder, folder / "logs", port, stale.redis, children.WORKER_MODULE)
    child.before_start()
    child.log.parent.mkdir(mode=0o700, exist_ok=True)
    with child.log.open("ab") as log, suppress(subprocess.TimeoutExpired):
        command = [*child.command, children.ONLY_STOP]
        subprocess.run(command, env=child.environment, stdout=log, stderr=log, timeout=seconds, check=False)
    return worker_stop_file(folder).exists()


def _stop_by_deployment(api: str, settings: Settings, state: Path | None, seconds: float) -> StopResult:
    check_prefect(api, state)
    ended = runs.graceful_stop(PrefectRuns(api), settings.account, seconds, Progress().report)
    click.echo(f"Graceful stop: {ended.type}" + (f" ({ended.message})" if ended.message else ""), err=True)
    found = _read_now(settings, state) or UNKNOWN
    return StopResult(ended.ok, found.orders_open, found.reserved)


def _stop_by_redis(settings: Settings, state: Path | None, seconds: float) -> StopResult:
    """Without Prefect: stop the pot in Redis, and wait until the workers' ticks have cancelled its orders."""
    from tasks.control import steps as control  # imports the trading stages

    async def work(redis: RedisClient) -> bool:
        await control.stop(redis, settings)
        return await is_durable(redis, settings, state)

    note_durable(run_with_redis(work, settings, state))
    progress, deadline = Progress(), time.monotonic() + seconds
    while True:
        found = _read_now(settings, state, only_compared=True) or UNKNOWN
        if found.orders_open == [] or time.monotonic() > deadline:
            return StopResult(found.orders_open is not None, found.orders_open, found.reserved)
        progress.report("the workers to cancel open orders")
        time.sleep(1)


def _force(stack: StackRecord, settings: Settings, state: Path | None) -> StopResult:
    """Ask for an orderly end, wait a few seconds, then SIGKILL every process in the usual order."""
    folder = state_dir(state)
    known = _read_now(settings, state) or read_result(open_orders_file(folder)) or UNKNOWN
    if stack.is_running:
        _ask_to_end(stack)
        click.echo(f"Progress for the stack to end by itself for {_TRY_SECONDS:.0f} s", err=True)
        deadline = time.monotonic() + _TRY_SECONDS
        while stack.is_running and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not stack.is_running:
            return read_result(last_stop_file(folder), stack.started) or known
        known = _read_now(settings, state) or known  # the worker may have cancelled meanwhile
    newest = read_record(folder) or stack
    names = ", ".join(["gridflow up", *living_in_order(newest)])
    click.echo(f"Killing {names}", err=True)
    kill_stack(newest)
    record_path(folder).unlink(missing_ok=True)
    return StopResult(False, known.orders_open, known.reserved, known.as_of)


def _read_now(settings: Settings, state: Path | None, only_compared: bool = False) -> StopResult | None:
    """The orders that Redis holds now; None where Redis does not answer within seconds.

    `only_compared`: UNKNOWN too where Redis may have gone back and has not been compared with the exchange since.
    """

    async def read() -> StopResult:
        async with asyncio.timeout(_READ_SECONDS), redis_client(settings, state) as redis:
            found = await read_orders(settings, redis)
            return UNKNOWN if only_compared and not await is_compared(redis, settings.account) else found

    try:
        return asyncio.run(read())
    except (StackError, TimeoutError) as error:
        click.echo(f"The open orders cannot be read: {error or 'no answer in time'}", err=True)
        return None
