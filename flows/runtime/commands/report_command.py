"""`gridflow report`: a page about the trades of some time, from the history. It needs no running stack."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from flows.runtime.commands.option_types import Day
from flows.runtime.commands.options import common_options, settings_in_force
from tasks.backtest.report.contents import Contents
from tasks.base.clock import to_ms, utc_now
from tasks.base.errors import ConfigError, GridflowError, Problem
from tasks.history.database import Database, history_url
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings


@click.command()
@common_options
@click.option("--from", "since", type=Day(), required=True, help="First day, in UTC.")
@click.option("--to", "until", type=Day(), help="End, in UTC; not included. [default: now]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="HTML file to write.",
)
def report(config: Path | None, state: Path | None, since: datetime, until: datetime | None, out: Path) -> None:
    """Write a page with equity, prices and fills, drawdown, allocation, months and statistics of the account."""
    start_ms, end_ms = to_ms(since.replace(tzinfo=UTC)), to_ms(until.replace(tzinfo=UTC) if until else utc_now())
    if start_ms >= end_ms:
        problem = Problem("--from", since.isoformat(), "must be before --to, and in the past", "Choose an earlier day")
        raise ConfigError([problem], "the command line")
    from tasks.backtest.report.page import write_report  # imports plotly

    contents = asyncio.run(_contents(settings_in_force(config, state), state, start_ms, end_ms))
    write_report(out, contents)
    click.echo(f"Wrote {out}")


async def _contents(settings: Settings, state: Path | None, start_ms: int, end_ms: int) -> Contents:
    from tasks.backtest.report.of_history import history_report

    database = Database(history_url(settings, state_dir(state)))
    try:
        if not database.exists():
            raise GridflowError(f"There is no history yet: {database.place} does not exist")
        await database.open()
        return await history_report(database, settings, start_ms, end_ms)
    finally:
        await database.close()
