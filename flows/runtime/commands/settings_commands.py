"""`gridflow init` writes a commented settings file; `gridflow check` says what would run."""

import json
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from flows.runtime.commands.connections import run_with_redis
from flows.runtime.commands.findings import Findings, find
from flows.runtime.commands.options import common_options, json_option
from flows.runtime.commands.preflight import start_problems
from flows.runtime.commands.preflight_text import full_name, grid_lines
from flows.runtime.commands.settings_file import settings_file
from tasks.base.errors import ConfigError, Problem
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.funds.rebalancing import first_allocations
from tasks.grid.preflight import GridPreview, preview_grid
from tasks.settings.environment import state_dir
from tasks.settings.grids import GridSettings, net_profit
from tasks.settings.load import DEFAULT_CONFIG, load
from tasks.settings.model import Settings
from tasks.settings.running import has_redis
from tasks.tick.active_symbols import Lifecycle


@click.command()
@common_options
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def init(config: Path | None, state: Path | None, force: bool) -> None:  # noqa: ARG001 - every command takes --state
    """Write a commented gridflow.toml (or --config FILE) with every setting at its default."""
    path = config or DEFAULT_CONFIG
    if path.exists() and not force:
        remedy = "Name another file with --config, or overwrite it with --force"
        raise ConfigError([Problem("--config", str(path), "this file exists already", remedy)], "the command line")
    try:
        path.write_text(settings_file(), encoding="utf-8")
    except OSError as error:
        rule = f"cannot be written ({error.strerror or error})"
        problem = Problem("--config", str(path), rule, "Name a file in a folder that exists and that you may write to")
        raise ConfigError([problem], "the command line") from None
    click.echo(f"Wrote {path}. Check it with: gridflow check --config {path}")


@click.command()
@common_options
@json_option
@click.option("--live", is_flag=True, help="Check for real orders, as `up --live` does; the exchange must answer.")
def check(config: Path | None, state: Path | None, as_json: bool, live: bool) -> None:
    """Check settings, grids, candle files and the exchange's list of symbols; print what would run. Starts nothing.

    Where the account trades already, also show the fields in which the file differs, and the symbols that would leave.
    Exit code 2: `up` would refuse it. Exit code 1, with --live: the exchange was not asked.
    """
    settings = load(config, start_problems)
    if live:
        settings = _consented(settings)
    found = find(settings, state_dir(state))
    allocated = first_allocations(settings)
    if found.problems:
        raise ConfigError(list(found.problems), "the settings")
    changes = _changes(settings, state)
    grids, rows = [], []
    for symbol, own in settings.symbols.items():
        for name, grid in own.each_grid.items():
            share = changes.allocated.get(symbol, allocated[symbol]) * own.part_of(name)
            price = changes.prices.get(symbol, found.prices.get(symbol))
            grids.append(preview_grid(symbol, grid, settings, share, found.markets.get(symbol), price, name))
            rows.append(_summary(symbol, grid, settings))
    previews = [_with_summary(row, grid) for row, grid in zip(rows, grids, strict=True)]
    notes = [*found.warnings, *found.notes]
    pool = plain(settings.total_funds * settings.global_max_usage)
    head = {
        "account": settings.account,
        "mode": _mode(settings),
        "exchange": settings.exchange.id,
        "market": settings.paper.market,
        "pool": f"{pool} {settings.quote}",
        "strategy": settings.allocation_strategy.value,
    }
    if as_json:
        more = {"symbols": previews, "notes": notes, "asked": found.exchange}
        click.echo(json.dumps(head | more | {"differs": changes.differing, "leaving": dict(changes.leaving)}))
        _exit_unless_answered(found, live)
        return
    table = Table(title=" · ".join(f"{name} {value}" for name, value in head.items()), title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row, shown in zip(rows, grids, strict=True):
        table.add_row(*(row | {"symbol": full_name(shown)}).values())
    Console().print(table)
    for shown in grids:
        click.echo("\n".join(grid_lines(shown, settings.quote)))
    click.echo("The settings are valid.")
    for note in notes:
        click.echo(f"Note: {note}")
    if found.exchange:
        click.echo(found.exchange)
    if changes.differing:
        click.echo(f"They differ from the settings in force in: {', '.join(changes.differing)}")
    for symbol, held in changes.leaving.items():
        click.echo(f"{symbol} would leave and retire: {held}. It would buy nothing and sell what it holds")
    _exit_unless_answered(found, live)


def _consented(settings: Settings) -> Settings:
    """The settings as `up --live` uses them. Raises ConfigError where they want no real orders."""
    if not settings.exchange.live:
        rule = "--live is given, but the settings want no real orders"
        raise ConfigError([Problem("exchange.live", "false", rule, "Set live = true below [exchange]")], "--live")
    return settings.model_copy(update={"live": True})


def _exit_unless_answered(found: Findings, live: bool) -> None:
    if live and not found.answered:
        raise SystemExit(1)


class _Changes(NamedTuple):
    """In which fields a file differs from what trades now, and what the symbols that would leave still hold.

    `prices`, `allocated`: by symbol, the newest price and what the allocator would give of the pot that trades.
    """

    differing: tuple[str, ...] = ()
    leaving: Mapping[str, str] = MappingProxyType({})
    prices: Mapping[str, Decimal] = MappingProxyType({})
    allocated: Mapping[str, Decimal] = MappingProxyType({})


def _changes(settings: Settings, state: Path | None) -> _Changes:
    """What would change where the account trades already; nothing where no Redis is known.

    Raises ConfigError where the settings want real orders and that Redis may lose records.
    """
    if not has_redis(settings, state):
        return _Changes()

    async def work(redis: RedisClient) -> _Changes:
        from tasks.control.reload import allocations_after
        from tasks.settings.in_force import in_force
        from tasks.tick.redis_check import check_redis
        from tasks.views.steps import read_status

        if settings.exchange.live:
            await check_redis(redis, settings)
        view = await read_status(settings, redis)
        found = await in_force(redis, settings, only_look=True)
        leaving = {
            symbol.symbol: f"{symbol.open_orders} open orders, {plain(symbol.base)} base that cost {plain(symbol.used)}"
            for symbol in view.symbols
            if symbol.symbol not in settings.symbols and symbol.state is not Lifecycle.LEFT
        }
        prices = {symbol.symbol: symbol.price for symbol in view.symbols if symbol.price is not None}
        return _Changes(found.differing, leaving, prices, await allocations_after(redis, settings))

    return run_with_redis(work, settings, state)


def _mode(settings: Settings) -> str:
    if settings.live:
        return "real orders"
    return "paper, unless started with --live" if settings.exchange.live else "paper"


def _with_summary(row: dict[str, str], grid: GridPreview) -> dict[str, object]:
    """Of one symbol: its settings in words, and its preview."""
    return {**row, "preview": grid.as_json()}


def _summary(symbol: str, grid: GridSettings, settings: Settings) -> dict[str, str]:
    levels = grid.raw_levels(Decimal(1))
    fee = settings.exchange.maker_fee
    profits = [net_profit(low, high, fee, fee) * 100 for low, high in pairwise(levels)]
    size = f"{plain(grid.quote_per_cell)} {settings.quote}" if grid.quote_per_cell else "allocation / cells"
    if grid.base_per_cell:
        size = f"{plain(grid.base_per_cell)} {symbol.split('/')[0]}"
    return {
        "symbol": symbol,
        "grid": grid.grid,
        "range": grid.range_text(),
        "cells": str(grid.cells),
        "per_cell": size,
        "start": grid.start.value,
        "net_profit_per_cell": f"{min(profits):.3f} – {max(profits):.3f} %",
    }
