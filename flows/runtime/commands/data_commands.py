"""`gridflow data`: fetch candles, import them, show what is there. Needs no stack."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from flows.runtime.commands.option_types import Day
from flows.runtime.commands.options import json_option
from tasks.backtest.candle_files import load_file
from tasks.backtest.candle_store import Stored, add_candles, stored
from tasks.backtest.fetching import Fetched, fetch
from tasks.backtest.request import wrong_option
from tasks.base.clock import to_ms, utc_now
from tasks.settings.load import load
from tasks.settings.model import ExchangeSettings

_FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("candles"),
    show_default=True,
    help="Folder of the candle files.",
)
_SYMBOL = click.option("--symbol", required=True, help="Symbol, such as BTC/USDT.")


@click.group()
def data() -> None:
    """Fetch 1-minute candles, import them, and show what is there."""


@data.command(name="fetch")
@_SYMBOL
@_FOLDER
@click.option("--from", "since", type=Day(), required=True, help="First day, in UTC.")
@click.option("--to", "until", type=Day(), help="End, in UTC; not included. [default: now]")
@click.option("--exchange", "exchange_id", help="ccxt id. [default: exchange.id of the settings]")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file.")
@json_option
def fetch_command(
    symbol: str,
    folder: Path,
    since: datetime,
    until: datetime | None,
    exchange_id: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Fetch 1-minute candles into one Parquet file a month. Fetched again, it continues where it ended."""
    _check_symbol(symbol)
    start_ms, end_ms = _ms(since), _ms(until) if until else to_ms(utc_now())
    if start_ms >= end_ms:
        rule = "must be before --to, and in the past"
        raise wrong_option("--from", since.isoformat(), rule, "Choose an earlier day")
    found = asyncio.run(_fetch(_exchange(config, exchange_id), symbol, folder, start_ms, end_ms, as_json))
    gaps = [{"from_ms": first, "to_ms": end, "minutes": (end - first) // 60_000} for first, end in found.gaps]
    if as_json:
        click.echo(json.dumps({"symbol": symbol, "new": found.new, "candles": found.candles, "gaps": gaps}))
        return
    click.echo(f"{symbol}: {found.new:,} new candles, {found.candles:,} in {folder}")
    for first, end in found.gaps[:10]:
        click.echo(f"No candle from {_time(first)} to {_time(end)} ({(end - first) // 60_000} minutes)")
    if len(found.gaps) > 10:
        click.echo(f"… and {len(found.gaps) - 10} more gaps")


def _exchange(config: Path | None, exchange_id: str | None) -> ExchangeSettings:
    """The exchange to read from: of the settings, without keys, or the one that is named."""
    if exchange_id is not None:
        return ExchangeSettings.model_validate({"id": exchange_id})
    own = load(config).exchange
    return ExchangeSettings(id=own.id, sandbox=own.sandbox, api_url=own.api_url)


async def _fetch(
    settings: ExchangeSettings, symbol: str, folder: Path, start_ms: int, end_ms: int, quiet: bool
) -> Fetched:
    from tasks.exchange.client import CcxtClient  # imports ccxt, which takes seconds
    from tasks.exchange.connect import ccxt_exchange

    client = CcxtClient(ccxt_exchange(settings))
    try:
        await client.markets([symbol])
        with _bar(start_ms, end_ms, symbol, quiet) as move_to:
            return await fetch(client, symbol, folder, start_ms, end_ms, to_ms(utc_now()), move_to)
    finally:
        await client.close()


@contextmanager
def _bar(start_ms: int, end_ms: int, label: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar by market time, on standard error; nothing is shown where `quiet`."""
    if quiet:
        yield lambda _at_ms: None
        return
    with click.progressbar(length=end_ms - start_ms, label=label, file=sys.stderr) as bar:

        def move_to(at_ms: int) -> None:
            bar.update(max(at_ms - start_ms - bar.pos, 0))

        yield move_to


@data.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_SYMBOL
@_FOLDER
def import_command(file: Path, symbol: str, folder: Path) -> None:
    """Add the candles in FILE (csv, csv.gz, parquet) to the files of a symbol. Minutes that are there count once."""
    _check_symbol(symbol)
    columns = load_file(file)
    if columns.interval_ms != 60_000:
        rule = f"has candles of {columns.interval_ms // 1000} seconds"
        raise wrong_option("FILE", str(file), rule, "Import 1-minute candles; `backtest --data FILE` plays others")
    written = add_candles(folder, symbol, columns)
    click.echo(f"{len(columns):,} candles of {symbol} in {', '.join(str(path) for path in written)}")


@data.command(name="show")
@_FOLDER
@json_option
def show_command(folder: Path, as_json: bool) -> None:
    """Show which candles a folder holds, and how many minutes are missing."""
    found = stored(folder)
    if as_json:
        click.echo(json.dumps([{**one._asdict(), "path": str(one.path)} for one in found]))
    elif not found:
        click.echo(f"No candle file in {folder}")
    else:
        _print_table(found)


def _print_table(found: list[Stored]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("symbol", "from", "to", "candles", "missing", "file")
    for one in found:
        table.add_row(
            one.symbol, _time(one.first_ms), _time(one.last_ms), f"{one.candles:,}", f"{one.missing:,}", one.path.name
        )
    Console().print(table)


def _check_symbol(symbol: str) -> None:
    if symbol.count("/") != 1 or not all(symbol.split("/")):
        raise wrong_option("--symbol", symbol, "must be BASE/QUOTE", "Write it as BTC/USDT")


def _ms(moment: datetime) -> int:
    return to_ms(moment.replace(tzinfo=UTC))


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
