"""`gridflow init` writes a commented settings file; `gridflow check` says what would run."""

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table

from flows.runtime.options import common_options, json_option
from flows.runtime.preflight import start_problems
from tasks.base.errors import GridflowError
from tasks.base.money import plain
from tasks.base.settings import (
    DEFAULT_CONFIG,
    ExchangeSettings,
    PaperSettings,
    Settings,
    SymbolSettings,
    TradingSettings,
    load,
)
from tasks.base.spacing import net_profit, raw_levels

_EXAMPLE_SYMBOLS = """\
# One table a symbol. Without any, BTC/USDT, ETH/USDT and BNB/USDT trade the grid below.
[symbols."BTC/USDT"]
grid = "geometric"            # arithmetic | geometric
range_pct = 0.04              # share on either side of the first price; or give lower and upper as prices:
# lower = "39000"
# upper = "48000"
cells = 20                    # N cells between N+1 levels
# quote_per_cell = "150"      # absent: the symbol's allocation divided by its cells
start = "balanced"            # flat buys nothing at once; balanced first buys the base for the cells above the price
max_usage_pct = 1.0           # cap: share of total_funds
weight = 1.0                  # under allocation_strategy = "weighted"

[symbols."ETH/USDT"]
grid = "geometric"
range_pct = 0.04
cells = 20
start = "balanced"

[symbols."BNB/USDT"]
grid = "geometric"
range_pct = 0.04
cells = 20
start = "balanced"
"""


@click.command()
@common_options
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def init(config: Path | None, state: Path | None, force: bool) -> None:  # noqa: ARG001 - every command takes --state
    """Write a commented gridflow.toml (or --config FILE) with every setting at its default."""
    path = config or DEFAULT_CONFIG
    if path.exists() and not force:
        raise GridflowError(f"{path} is there already; name another with --config, or overwrite it with --force")
    path.write_text(settings_file(), encoding="utf-8")
    click.echo(f"Wrote {path}. Check it with: gridflow check --config {path}")


def settings_file() -> str:
    """A settings file that states every field's unit, bounds and meaning; loading it gives the defaults."""
    lines = ["# Gridflow settings. Every line behind # is a default. Keys belong in the environment.", ""]
    lines += _fields(Settings, skip={"exchange", "paper", "trading", "symbols", "live", "redis_url"})
    lines += ["", "# redis_url: set GRIDFLOW_REDIS_URL to use your own Redis", ""]
    sections: tuple[tuple[str, type[BaseModel], set[str]], ...] = (
        ("exchange", ExchangeSettings, {"api_key", "secret", "password"}),
        ("paper", PaperSettings, set()),
        ("trading", TradingSettings, set()),
    )
    for name, model, skip in sections:
        lines += [f"[{name}]", *_fields(model, skip=skip), ""]
    return "\n".join(lines) + "\n" + _EXAMPLE_SYMBOLS


def _fields(model: type[BaseModel], skip: set[str]) -> list[str]:
    lines = []
    for name, info in model.model_fields.items():
        if name in skip:
            continue
        lines.append(f"# {info.description}")
        default = info.default
        lines.append(f"# {name} = {_toml(default)}" if default is not PydanticUndefined else f"# {name} =")
    return lines


def _toml(value: Any) -> str:
    if value is None:
        return '""   (not set)'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    return str(value) if isinstance(value, int) else f'"{value}"'


@click.command()
@common_options
@json_option
def check(config: Path | None, state: Path | None, as_json: bool) -> None:  # noqa: ARG001 - every command takes --state
    """Check settings and grids without starting anything, and print what would run."""
    settings = load(config, start_problems)
    rows = [_summary(name, symbol, settings) for name, symbol in settings.symbols.items()]
    pool = plain(settings.total_funds * settings.global_max_usage)
    head = {
        "account": settings.account,
        "mode": "paper, unless started with --live" if settings.exchange.live else "paper",
        "exchange": settings.exchange.id,
        "market": settings.paper.market,
        "pool": f"{pool} {settings.quote}",
        "strategy": settings.allocation_strategy.value,
    }
    if as_json:
        click.echo(json.dumps(head | {"symbols": rows}))
        return
    table = Table(title=" · ".join(f"{name} {value}" for name, value in head.items()), title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    click.echo("The settings are valid.")


def _summary(name: str, symbol: SymbolSettings, settings: Settings) -> dict[str, str]:
    levels = raw_levels(symbol, Decimal(1))
    fee = settings.exchange.maker_fee
    profits = [net_profit(low, high, fee, fee) * 100 for low, high in pairwise(levels)]
    reach = f"±{plain(symbol.range_pct * 100)} % of the first price" if symbol.range_pct else ""
    ends = reach or f"{plain(levels[0])} – {plain(levels[-1])}"
    size = f"{plain(symbol.quote_per_cell)} {settings.quote}" if symbol.quote_per_cell else "allocation / cells"
    if symbol.base_per_cell:
        size = f"{plain(symbol.base_per_cell)} {name.split('/')[0]}"
    return {
        "symbol": name,
        "grid": symbol.grid.value,
        "range": ends,
        "cells": str(symbol.cells),
        "per_cell": size,
        "start": symbol.start.value,
        "net_profit_per_cell": f"{min(profits):.3f} – {max(profits):.3f} %",
    }
