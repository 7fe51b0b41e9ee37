"""`gridflow top` and `gridflow dashboard`: the account in a terminal, and in a browser."""

import asyncio
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import click

from flows.runtime.commands.connections import redis_client
from flows.runtime.commands.option_types import Seconds
from flows.runtime.commands.options import common_options, settings_in_force
from flows.runtime.stack import children
from tasks.base.errors import StackError
from tasks.control.exposure import Listening, check_exposure
from tasks.settings.environment import override_environment, state_dir
from tasks.settings.load import CONFIG_VARIABLE, load
from tasks.settings.model import Settings
from tasks.settings.secret_values import worker_only
from tasks.views.models import StatusView
from tasks.views.steps import read_status

_ASK_SECONDS = 4.0


@click.command()
@common_options
@click.option(
    "--every",
    "seconds",
    type=Seconds(0.5, 3600, "2"),
    default=2.0,
    show_default=True,
    help="Seconds between looks.",
)
@click.option("--times", type=click.IntRange(min=1), help="End after so many looks. [default: until Ctrl-C]")
def top(config: Path | None, state: Path | None, seconds: float, times: int | None) -> None:
    """Show the account in this terminal and keep it up to date, until Ctrl-C.

    While Redis does not answer, the last figures stay, with the time that they are of.
    """
    settings = settings_in_force(config, state)
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, state, seconds, times))


async def _watch(settings: Settings, state: Path | None, seconds: float, times: int | None) -> None:
    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.text import Text

    from tasks.base.clock import utc_now
    from tasks.views.render import status_table

    shown: RenderableType = Text("Nothing was read yet.")
    at, looks = "never", 0
    console = Console()
    with (
        Live(shown, console=console, screen=True, auto_refresh=False) if console.is_terminal else nullcontext() as live
    ):
        while True:
            try:
                shown, at = status_table(await _read(settings, state)), f"{utc_now():%H:%M:%S} UTC"
                head = Text(f"gridflow top · {at} · every {seconds:g} s · Ctrl-C ends", style="dim")
            except (StackError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                head = Text(f"{why}\nThe figures below are of {at}.", style="bold red")
            if live is None:
                console.print(head, shown)
            else:
                live.update(Group(head, shown), refresh=True)
            looks += 1
            if looks == times:
                return
            await asyncio.sleep(seconds)


async def _read(settings: Settings, state: Path | None) -> StatusView:
    async with asyncio.timeout(_ASK_SECONDS), redis_client(settings, state) as redis:
        return await read_status(settings, redis)


@click.command()
@common_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Another one than this machine's needs a password and TLS.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port to listen on.")
def dashboard(config: Path | None, state: Path | None, host: str, port: int) -> None:
    """Serve the dashboard, its HTTP API and /metrics, until Ctrl-C. `gridflow up` does so by itself.

    It reads the Redis and the history of the stack on this state folder, or those of the settings.
    """
    if not children.has_dashboard():
        raise StackError("The dashboard is not installed: install gridflow with its dashboard package")
    from tasks.control.access import Access  # imports argon2 and PyJWT

    settings = load(config, without_fields=worker_only())
    tls = settings.dashboard.tls_certificate, settings.dashboard.tls_key
    listening = Listening(host, has_tls=None not in tls)
    check_exposure(listening, settings.dashboard, has_password=Access(settings, state_dir(state)).has_password())
    changes = {"GRIDFLOW_STATE": str(state_dir(state).absolute())}
    if config is not None:
        changes[CONFIG_VARIABLE] = str(config.absolute())
    override_environment(changes)
    click.echo(f"The dashboard answers on {'https' if listening.has_tls else 'http'}://{host}:{port}", err=True)
    sys.stderr.flush()
    os.execv(sys.executable, children.dashboard_command(host, port, tls))  # noqa: S606 - this very interpreter
