"""A market, a symbol's settings and a grid with round numbers."""

from decimal import Decimal
from typing import Any

from tasks.exchange.models import Market
from tasks.grid.levels import build_cells, build_grid
from tasks.grid.models import Cell, Grid
from tasks.settings.grids import OneGrid, StartMode
from tasks.settings.model import Settings

BTC = "BTC/USDT"


def symbol_settings(**values: Any) -> OneGrid:
    """The table of one symbol with these values, read as `load` reads it: without `grid` it is arithmetic."""
    found = Settings.model_validate({"symbols": {BTC: values}}).symbols[BTC]
    assert isinstance(found, OneGrid)
    return found


def market(**changes: object) -> Market:
    """Binance-like filters, 0.1 % fees."""
    base: dict[str, object] = {
        "symbol": BTC,
        "base": "BTC",
        "quote": "USDT",
        "tick_size": "0.01",
        "lot_step": "0.00001",
        "min_notional": "5",
        "maker_fee": "0.001",
        "taker_fee": "0.001",
    }
    return Market.model_validate(base | changes)


def grid_and_cells(start: StartMode = StartMode.FLAT, price: str = "42000") -> tuple[Grid, list[Cell]]:
    """39000 … 48000 in 9 arithmetic cells of 300 USDT."""
    own = symbol_settings(lower="39000", upper="48000", cells=9, quote_per_cell="300", start=start)
    grid = build_grid(BTC, own, market(), Decimal(price), Decimal(9500), 0)
    return grid, build_cells(grid, start)
