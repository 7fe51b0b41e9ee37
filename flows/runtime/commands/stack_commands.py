"""`gridflow status`."""

import asyncio
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import click

from flows.runtime.commands.connections import run_with_redis, warn_unresponsive
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from flows.runtime.stack import children
from flows.runtime.stack.last_status import read_last_status
from flows.runtime.stack.leftovers import folders_of
from flows.runtime.stack.stale_processes import living_in_order
from tasks.base.clock import utc_now
from tasks.base.errors import ConfigError, GridflowError, StackError
from tasks.base.redis_client import RedisClient
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.running import Identity, has_redis, running_stack, stale_stack
from tasks.views.glossary import explained
from tasks.views.models import StatusView
from tasks.views.parts import outages
from tasks.views.result_models import ResultsView

_HISTORY_SECONDS = 1.5
EXIT_DARK = 4
_SHOWN = ("equity", "profit", "grid profit", "floating", "fees", "committed", "free", "place", "dark")
_WORDS = "Words, more of them by `gridflow glossary`:\n\n" + explained(*_SHOWN).replace("\n", "\n\n")


@click.command(epilog=_WORDS)
@common_options
@json_option
@click.argument("symbol", required=False)
def status(config: Path | None, state: Path | None, as_json: bool, symbol: str | None) -> None:
    """Show money, grids and orders now, why anything waits, and the results of today, 7 and 30 days.

    With SYMBOL: its ladder, and why each cell without an order waits. Without a running stack: the last known figures
    and when they were read. Exit code 4: a symbol is dark, which means that nobody ticks it, though somebody should.
    """
    settings = settings_in_force(config, state)
    if not has_redis(settings, state) and _show_past(settings, state, as_json, symbol):
        return
    stack = running_stack(state)
    killed = stale_stack(state)
    stale = living_in_order(killed) if killed else {}
    if stale:
        click.echo(_stale_text(stale), err=True)
    warn_unresponsive(state, [name for name in children.STOP_ORDER if name != children.VALKEY])
    if symbol is not None:
        _show_ladder(settings, state, symbol, as_json)
        return
    from tasks.views.steps import read_status

    async def work(redis: RedisClient) -> StatusView:
        view = await read_status(settings, redis)
        return view.model_copy(update={"settings_differ": await _differing(config, redis)})

    try:
        view = run_with_redis(work, settings, state)
    except StackError as error:
        if as_json:
            click.echo(json.dumps({"account": settings.account, "outages": [f"Redis: {error}"], **_last_known(state)}))
        else:
            _show_last_known(state, to_stderr=True)
        raise
    past = asyncio.run(_results(settings, state, view.capital))  # apart: its time is not Redis's
    history = view.history.model_copy(update={"unread": past.unread})
    view = view.model_copy(update={"results": past.results, "history": history})
    silent = dict(stack.silent) if stack else {}
    if as_json:
        urls = stack.urls if stack else {}
        pids = {name: process.pid for name, process in stale.items()}
        of_stack = {"urls": urls, "left_over": pids, "not_answering": silent, "outages": outages(view, silent)}
        of_stack["folders"] = [str(each) for each in folders_of(state_dir(state))] if stack else []
        click.echo(json.dumps(view.model_dump(mode="json") | of_stack))
        _exit_if_dark(view)
        return
    _print(view, silent)
    if stack:
        click.echo(f"State: {' and '.join(map(str, folders_of(state_dir(state))))}. Dashboard: {stack.dashboard}")
    _exit_if_dark(view)


def _print(view: StatusView, silent: Mapping[str, str], *, to_stderr: bool = False) -> None:
    from rich.console import Console

    from tasks.views.render import status_table

    Console(stderr=to_stderr).print(status_table(view, silent), highlight=False)


def _show_ladder(settings: Settings, state: Path | None, symbol: str, as_json: bool) -> None:
    """One symbol's ladder. Raises BadParameter for a symbol that the account does not have."""
    from tasks.views.grid import GridView, read_grid
    from tasks.views.steps import read_status

    async def work(redis: RedisClient) -> tuple[GridView | None, StatusView]:
        view = await read_status(settings, redis)
        name = known_symbol(symbol, [one.symbol for one in view.symbols] or list(settings.symbols))
        return (await read_grid(redis, settings.account, name) if name else None), view

    ladder, view = run_with_redis(work, settings, state)
    if ladder is None:
        names = ", ".join(one.symbol for one in view.symbols)
        raise click.BadParameter(f"{symbol!r} is no symbol of this account. Use one of: {names}", param_hint="SYMBOL")
    own = next((one for one in view.symbols if one.symbol == ladder.symbol), None)
    if as_json:
        shown = ladder.model_dump(mode="json") | {"status": own.model_dump(mode="json") if own else None}
        click.echo(json.dumps(shown))
        return
    from rich.console import Console

    from tasks.views import render_grid

    Console().print(render_grid.ladder(ladder, own, view.quote), highlight=False)


def known_symbol(text: str, symbols: Sequence[str]) -> str | None:
    """The symbol that `text` names: BTC/USDT, btc-usdt, BTCUSDT or BTC."""
    wanted = re.sub(r"[^A-Z0-9]", "", text.upper())
    names = {re.sub(r"[^A-Z0-9]", "", name): name for name in symbols}
    bases = {name.partition("/")[0]: name for name in symbols}
    return names.get(wanted) or bases.get(wanted)


def _last_known(state: Path | None) -> dict[str, Any]:
    """For JSON: the figures that the stack wrote last, and when; null where there are none."""
    last = read_last_status(state_dir(state))
    return {"last_known": {"at": last.at, "status": last.view.model_dump(mode="json")} if last else None}


def _show_last_known(state: Path | None, *, to_stderr: bool = False) -> bool:
    """Print the figures that the stack wrote last, and when; whether there are any. To stderr beside an error."""
    found = read_last_status(state_dir(state))
    if found is None:
        return False
    click.echo(f"The last known figures, of {found.at}:", err=to_stderr)
    _print(found.view, {}, to_stderr=to_stderr)
    return True


@click.command()
@json_option
def glossary(as_json: bool) -> None:
    """Explain each word that status, screens and JSON use."""
    from tasks.views.glossary import GLOSSARY

    if as_json:
        click.echo(json.dumps(dict(GLOSSARY)))
        return
    formatter = click.HelpFormatter(width=min(shutil.get_terminal_size().columns, 100))
    formatter.write_dl(list(GLOSSARY.items()))
    click.echo(formatter.getvalue(), nl=False)


def _exit_if_dark(view: StatusView) -> None:
    """For scripts: exit code 4 while a symbol is dark."""
    if view.dark:
        raise SystemExit(EXIT_DARK)


class _Past(NamedTuple):
    """The results in the history. `unread`: why it does not answer; '' where it does."""

    results: tuple[ResultsView, ...] = ()
    unread: str = ""


async def _results(settings: Settings, state: Path | None, capital: Decimal) -> _Past:
    """The results; none where there is no history, or where it does not answer in time."""
    from tasks.views.history import opened_history, recent_results  # imports the database's libraries

    opening = opened_history(settings, state_dir(state), _HISTORY_SECONDS / 2)
    try:
        async with asyncio.timeout(_HISTORY_SECONDS), opening as database:
            if database is None:
                return _Past()
            return _Past(await recent_results(database, settings.account, capital, utc_now()))
    except GridflowError as error:
        why = str(error)
        click.echo(f"The history was not read: {why}", err=True)
        return _Past(unread=why)
    except TimeoutError:
        click.echo("The history was not read: it does not answer in time", err=True)
        return _Past()  # this machine may be slow; the workers know better


def _show_past(settings: Settings, state: Path | None, as_json: bool, symbol: str | None) -> bool:
    """Show the last known figures and the results of a stopped stack; whether there are any."""
    found = asyncio.run(_results(settings, state, settings.total_funds)).results
    last = read_last_status(state_dir(state))
    if not found and last is None:
        return False
    if symbol is not None:
        raise StackError(f"No stack runs on {state_dir(state)}: a ladder is shown while one runs")
    click.echo(f"No stack runs on {state_dir(state)}: from its history", err=True)
    if as_json:
        shown = {"account": settings.account, "results": [one.model_dump(mode="json") for one in found]}
        click.echo(json.dumps(shown | _last_known(state)))
        return True
    _show_last_known(state)
    if found:
        from rich.console import Console

        from tasks.views.render import results_table

        Console().print(results_table(found, settings.quote), highlight=False)
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
