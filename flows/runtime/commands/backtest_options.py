"""Options that the commands `backtest` and `optimize` share."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from flows.runtime.commands.option_types import Day
from tasks.settings.grids import KINDS

_Command = TypeVar("_Command", bound=Callable[..., Any])
GRID_FIELDS = ("grid", "lower", "upper", "range_pct", "cells", "quote_per_cell", "base_per_cell", "start")


def _day(_context: click.Context, _parameter: click.Parameter, value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value else None


def backtest_options(command: _Command) -> _Command:
    """Add what a backtest plays: candles, and a grid or a settings file."""
    any_path, folder_or_file = click.Path(path_type=Path, dir_okay=False), click.Path(path_type=Path)
    options = [
        click.option("--data", type=folder_or_file, help="Candle file (csv, csv.gz, parquet), or a folder of them."),
        click.option("--symbol", "symbols", multiple=True, help="Symbol, such as BTC/USDT. [default: all settings']"),
        click.option(
            "--config", type=any_path, help="Settings file. [default: $GRIDFLOW_CONFIG, else ./gridflow.toml]"
        ),
        click.option("--grid", help=f"Kind of grid: {', '.join(KINDS)}."),
        click.option("--lower", help="Lowest level, in quote."),
        click.option("--upper", help="Highest level, in quote."),
        click.option("--range-pct", help="Instead of both: share on either side of the first price."),
        click.option("--cells", help="Number of cells."),
        click.option("--quote-per-cell", help="Quote that a cell spends."),
        click.option("--base-per-cell", help="Instead: base that a cell buys."),
        click.option("--start", help="flat, or balanced: first buy the base for the cells above the price."),
        click.option("--set", "more", multiple=True, help="Another field of the symbol's table, as name=value."),
        click.option("--quote", help="Quote at the start. [default: 10000; with settings: total_funds]"),
        click.option("--maker-fee", help="Share of notional. [default: 0.001]"),
        click.option("--taker-fee", help="Share of notional. [default: 0.001]"),
        click.option("--fee-currency", help="quote, or base: a buy's fee in base. [default: quote]"),
        click.option("--tick-size", help="Price step. [default: that of the paper exchange]"),
        click.option("--lot-step", help="Amount step. [default: that of the paper exchange]"),
        click.option("--min-notional", help="Smallest order in quote. [default: 0 where a step is given]"),
        click.option("--from", "since", type=Day(), callback=_day, help="First day, in UTC."),
        click.option("--to", "until", type=Day(), callback=_day, help="End, in UTC; not included."),
        click.option("--engine", type=click.Choice(["exact", "fast"]), default="exact", show_default=True),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def search_options(command: _Command) -> _Command:
    """Add what searches share."""
    out = click.Path(path_type=Path, dir_okay=False)
    options = [
        click.option("--out", type=out, help="Write every trial to this csv, json or parquet file."),
        click.option("--top", type=click.IntRange(1, 50), default=5, show_default=True, help="Trials shown."),
        click.option("--processes", type=click.IntRange(1, 256), help="Processes. [default: one a processor]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command
