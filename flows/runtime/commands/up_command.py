"""`gridflow up`."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from flows.runtime.commands.findings import find
from flows.runtime.commands.option_types import Seconds, usable_state
from flows.runtime.commands.options import common_options, json_option
from flows.runtime.commands.preflight import blamed_on_flags, check_exchange, check_market_data, confirm_live
from flows.runtime.stack.leftovers import folders_of
from flows.runtime.stack.stack import Stack, UpOptions
from flows.runtime.stack.stop_report import StopResult
from tasks.base.errors import ConfigError, StackError
from tasks.settings.environment import override_environment
from tasks.settings.load import CONFIG_VARIABLE, load
from tasks.settings.logs import OPERATOR_LOG
from tasks.settings.model import Settings
from tasks.settings.running import StackRecord


@click.command()
@common_options
@json_option
@click.option("--market", type=click.Choice(["auto", "live", "replay", "synthetic"]), help="Price source on paper.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of candle files for --market replay.")
@click.option("--speed", help="Market minutes per real minute, for replay and synthetic prices.")
@click.option("--seed", help="Seed of the synthetic market.")
@click.option("--for", "seconds", type=Seconds(), help="Stop SECONDS after the first tick.")
@click.option("--no-dashboard", is_flag=True, help="Do not start the dashboard.")
@click.option("--liquidate", is_flag=True, help="Sell at once what symbols that left the settings still hold.")
@click.option("--new-market", is_flag=True, help="Begin a new paper market where the old one was lost with Redis.")
@click.option("--live", is_flag=True, help="Send real orders; needs live = true in the settings as well.")
def up(
    config: Path | None,
    state: Path | None,
    as_json: bool,
    market: str | None,
    data: Path | None,
    speed: str | None,
    seed: str | None,
    seconds: float | None,
    no_dashboard: bool,
    liquidate: bool,
    new_market: bool,
    live: bool,
) -> None:
    """Run everything on this machine until Ctrl-C: Valkey, PostgreSQL, Prefect, a worker, the dashboard."""
    paper = {"market": market, "data": str(data.absolute()) if data else None, "speed": speed, "seed": seed}
    _export(config, paper)
    with blamed_on_flags({f"paper.{name}": f"--{name}" for name, value in paper.items() if value is not None}):
        settings = confirm_live(load(), live, _say)
        check_market_data(settings)
    if settings.live:
        check_exchange(settings)
    folder = usable_state(state)
    _check(settings, folder)
    if not no_dashboard:
        _begin_access(settings, folder)
    options = UpOptions(
        seconds=seconds,
        dashboard=not no_dashboard,
        liquidate=liquidate,
        new_market=new_market,
        on_ready=_ignore if as_json else _tell_urls,
    )
    summary = asyncio.run(Stack(settings, folder, options, _say).run())
    click.echo(json.dumps(summary, default=str) if as_json else summary_text(summary))
    _raise_unless_clean(summary)


def _check(settings: Settings, folder: Path) -> None:
    """What `check` checks. Raises ConfigError; says what to know.

    With real orders only the list of symbols is refused here: a grid in force must be able to start again and sell,
    whatever the exchange's minimums are by now. The worker refuses new grids that do not fit.
    """
    if settings.live or settings.paper.market in ("auto", "live"):
        _say(f"Asking {settings.exchange.id} which symbols it lists")
    found = find(settings, folder, apart=True)
    refused = [one for one in found.problems if not settings.live]
    if refused:
        raise ConfigError(refused, "the settings")
    for note in (*found.warnings, *found.notes, *(str(one) for one in found.problems)):
        _say(f"Note: {note}")
    if found.exchange:
        _say(found.exchange)


def _begin_access(settings: Settings, folder: Path) -> None:
    """Make the password of the API at the first start, and show it."""
    from tasks.control.access import Access  # imports argon2 and PyJWT

    password = Access(settings, folder).begin()
    if password:
        _say(f"Password of the API and the pages, shown only now: {password}")


def _raise_unless_clean(summary: dict[str, Any]) -> None:
    """Raise StackError unless the stack ended because it was asked to, in order, and with no order open."""
    stopped, kept = summary["stopped_in_order"], summary["orders_kept"]
    result = StopResult(stopped, summary["orders_open"], summary["reserved"], kept=kept)
    texts = list(summary["failed"])
    if not result.stopped:
        texts.append("The worker did not end in order: see its log in the state folder")
    if texts or not result.is_clean:
        raise StackError("\n".join([*texts, result.text()]))


def _tell_urls(record: StackRecord, logs: list[str]) -> None:
    click.echo(_urls_text(record, logs))


def _ignore(record: StackRecord, logs: list[str]) -> None:
    """With --json nothing but the summary goes to standard output."""


def _export(config: Path | None, paper: dict[str, str | None]) -> None:
    """Put the command line's choices into the environment, where this process and every child reads them."""
    values = {f"GRIDFLOW_PAPER__{name.upper()}": value for name, value in paper.items() if value is not None}
    if config is not None:
        values[CONFIG_VARIABLE] = str(config.absolute())
    override_environment(values)


def _say(line: str) -> None:
    with suppress(OSError):  # a closed terminal must not keep the stack from stopping in order
        click.echo(line, err=True)


def _urls_text(record: StackRecord, logs: list[str]) -> str:
    rows = {
        "Dashboard": record.dashboard or "(not started)",
        "Prefect UI": record.prefect_ui,
        "Redis": record.redis,
        "State": " and ".join(map(str, folders_of(Path(record.state)))),
        "Logs": f"{_operator_log(logs)} (what happened; one file a process beside it)",
    }
    return "\n".join(["Gridflow runs. Ctrl-C stops it in order.", *(f"  {name:11}{row}" for name, row in rows.items())])


def _operator_log(logs: list[str]) -> str:
    return next((log for log in logs if log.endswith(OPERATOR_LOG)), " ".join(logs))


def summary_text(summary: dict[str, Any]) -> str:
    """The end of a run in words: what each symbol did, then the account."""
    plain = {name: value for name, value in summary.items() if not isinstance(value, dict | list)}
    each = [
        f"  {symbol}: {summary['ticks'][symbol]} ticks, {summary['fills'][symbol]} fills, "
        f"{summary['rounds'][symbol]} rounds"
        for symbol in summary.get("symbols", [])
    ]
    return "\n".join(["Gridflow has stopped.", *each, *(f"  {name}: {value}" for name, value in plain.items())])
