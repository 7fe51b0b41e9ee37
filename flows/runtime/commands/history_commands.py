"""`gridflow history export | import` and `gridflow export-trades`. They need no running stack."""

import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, TypeVar

import click

from flows.runtime.commands.options import common_options, settings_in_force
from tasks.base.errors import GridflowError
from tasks.history.database import Database, history_url
from tasks.history.queries import FillFilter
from tasks.history.tax_rows import TaxFormat, columns, tax_row
from tasks.history.transfer import export_history, import_history
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.views.history import all_trades

T = TypeVar("T")


def _run(settings: Settings, state: Path | None, work: Callable[[Database], Awaitable[T]], *, make: bool = False) -> T:
    """Run `work` on the history database. `make`: a new one where there is none; else GridflowError is raised."""

    async def run() -> T:
        database = Database(history_url(settings, state_dir(state)))
        try:
            if not make and not database.exists():
                raise GridflowError(f"There is no history yet: {database.place} does not exist")
            await database.open()
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


@click.group()
def history() -> None:
    """Export the history to files, or import it from them."""


@history.command(name="export")
@common_options
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new folder.")
@click.option("--format", "kind", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
def export_command(config: Path | None, state: Path | None, out: Path, kind: str) -> None:
    """Write every table to a file in a new folder. Amounts are exact text, times are ms since 1970 in UTC."""
    settings = settings_in_force(config, state)
    as_csv = kind == "csv"
    counts = _run(
        settings, state, lambda found: export_history(found, settings.account, out, "csv" if as_csv else "parquet")
    )
    _print(counts, f"Exported to {out}")


@history.command(name="import")
@common_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def import_command(config: Path | None, state: Path | None, folder: Path) -> None:
    """Add an export in FOLDER to the history. Records that are there already count once."""
    settings = settings_in_force(config, state)
    counts = _run(settings, state, lambda found: import_history(found, settings.account, folder), make=True)
    _print(counts, f"Imported from {folder}")


def _print(counts: dict[str, int], done: str) -> None:
    for name, count in counts.items():
        click.echo(f"{count:>10,}  {name}")
    click.echo(done)


@click.command(name="export-trades")
@common_options
@click.option("--year", type=click.IntRange(2009, 2200), help="Only the fills of that year, in UTC. [default: all]")
@click.option("--symbol", help="Only the fills of that symbol.")
@click.option("--format", "layout", type=click.Choice([each.value for each in TaxFormat]), default="csv")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file. [default: standard output]")
def export_trades(
    config: Path | None, state: Path | None, year: int | None, symbol: str | None, layout: str, out: Path | None
) -> None:
    """Write one row a fill, newest first, as tax tools read it: times in UTC, the fee and its coin, exact amounts."""
    settings, wanted = settings_in_force(config, state), FillFilter(symbol=symbol)
    if year is not None:
        wanted = wanted.model_copy(update={"from_ms": _new_year_ms(year), "to_ms": _new_year_ms(year + 1)})
    kind = TaxFormat(layout)

    async def work(database: Database) -> int:
        count = 0
        with _opened(out) as file:
            writer = csv.DictWriter(file, columns(kind), lineterminator="\n")
            writer.writeheader()
            async for fill in all_trades(database, settings.account, wanted):
                writer.writerow(tax_row(fill, kind))
                count += 1
        return count

    count = _run(settings, state, work)
    click.echo(f"{count} fills", err=True)


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    with out.open("w", newline="", encoding="utf-8") as file:
        yield file


def _new_year_ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
