"""`gridflow status`."""

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import click

from flows.runtime.commands.connections import run_with_redis, warn_unresponsive
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from flows.runtime.stack import children
from flows.runtime.stack.stale_processes import living_in_order
from tasks.base.clock import utc_now
from tasks.base.errors import ConfigError, GridflowError
from tasks.base.redis_client import RedisClient
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.running import Identity, has_redis, running_stack, stale_stack
from tasks.views.models import ResultsView, StatusView

_HISTORY_SECONDS = 1.5
EXIT_DARK = 4


@click.command()
@common_options
@json_option
def status(config: Path | None, state: Path | None, as_json: bool) -> None:
    """Show money, grids and orders as Redis holds them now, and the results of today, 7 and 30 days.

    Without a running stack it shows the results alone. Exit code 4: a symbol is dark, which means that it should be
    ticked and nobody ticks it.
    """
    settings = settings_in_force(config, state)
    if not has_redis(settings, state) and _show_past(settings, state, as_json):
        return
    stack = running_stack(state)
    killed = stale_stack(state)
    stale = living_in_order(killed) if killed else {}
    if stale:
        click.echo(_stale_text(stale), err=True)
    warn_unresponsive(state, [name for name in children.STOP_ORDER if name != children.VALKEY])
    from tasks.views.steps import read_status

    async def work(redis: RedisClient) -> StatusView:
        view = await read_status(settings, redis)
        return view.model_copy(update={"settings_differ": await _differing(config, redis)})

    view = run_with_redis(work, settings, state)
    past = asyncio.run(_results(settings, state, view.total_funds))  # apart: its time is not Redis's
    view = view.model_copy(update={"results": past})
    if as_json:
        urls = stack.urls if stack else {}
        pids = {name: process.pid for name, process in stale.items()}
        silent = stack.silent if stack else {}
        of_stack = {"urls": urls, "left_over": pids, "not_answering": silent}
        click.echo(json.dumps(view.model_dump(mode="json") | of_stack))
        _exit_if_dark(view)
        return
    from rich.console import Console

    from tasks.views.render import status_table

    Console().print(status_table(view))
    _exit_if_dark(view)


def _exit_if_dark(view: StatusView) -> None:
    """For scripts: exit code 4 while a symbol is dark."""
    if view.dark:
        raise SystemExit(EXIT_DARK)


async def _results(settings: Settings, state: Path | None, capital: Decimal) -> tuple[ResultsView, ...]:
    """The results in the history; none where there is no history, or where it does not answer in time."""
    from tasks.views.history import opened_history, recent_results  # imports the database's libraries

    try:
        async with asyncio.timeout(_HISTORY_SECONDS), opened_history(settings, state_dir(state)) as database:
            if database is None:
                return ()
            return await recent_results(database, settings.account, capital, utc_now())
    except (GridflowError, TimeoutError) as error:
        click.echo(f"The history was not read: {error or 'it does not answer in time'}", err=True)
        return ()


def _show_past(settings: Settings, state: Path | None, as_json: bool) -> bool:
    """Show the results of a stopped stack; whether there are any."""
    found = asyncio.run(_results(settings, state, settings.total_funds))
    if not found:
        return False
    click.echo(f"No stack runs on {state_dir(state)}: from its history", err=True)
    if as_json:
        shown = {"account": settings.account, "results": [one.model_dump(mode="json") for one in found]}
        click.echo(json.dumps(shown))
        return True
    from rich.console import Console

    from tasks.views.render import results_table

    Console().print(results_table(found))
    return True


async def _differing(config: Path | None, redis: RedisClient) -> tuple[str, ...]:
    """Fields in which the file differs from the settings in force; none where the file cannot be used."""
    from tasks.settings.in_force import in_force

    try:
        own = load(config)
    except ConfigError:
        return ()
    found = await in_force(redis, own, only_look=True)
    return tuple(name for name in found.differing if name != "live")  # consent is given at the start, not in a file


def _stale_text(stale: Mapping[str, Identity]) -> str:
    names = ", ".join(f"{name} (pid {process.pid})" for name, process in stale.items())
    return (
        f"`gridflow up` was killed; still running: {names}.\n"
        "The next `gridflow up` takes over from them; `gridflow stop` ends them in order."
    )
