"""From settings to a grid and its cells. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import ZERO, plain
from tasks.base.remembering import by_identity
from tasks.exchange.models import Market
from tasks.exchange.order_ids import cell_key, grid_digest
from tasks.grid.models import Cell, Grid, Size
from tasks.grid.sizing import CENT, cell_money
from tasks.settings.grids import GridSettings, StartMode, SymbolSettings, net_profit
from tasks.settings.grids.common import ONLY
from tasks.settings.places import dotted, grid_place


@lru_cache(maxsize=1024)  # the same at every tick until the settings change
def grid_id(symbol: str, settings: GridSettings, first_price: Decimal | None = None, name: str = ONLY) -> str:
    """Short, stable name of a grid's geometry: the same levels give the same id, on any machine.

    `first_price`: of an anchored grid, whose id names it; other kinds do not look at it. `name`: of one of several
    grids; two grids with the same levels have two ids.
    """
    geometry = _geometry(symbol, settings) | ({"name": name} if name else {})
    if settings.is_anchored and first_price is not None:
        geometry["first_price"] = plain(first_price)
    return grid_digest(json.dumps(geometry, sort_keys=True))


def is_grid_of(grid: Grid, settings: GridSettings) -> bool:
    """Whether the grid in force is the one that the settings describe."""
    return grid.grid_id == grid_id(grid.symbol, settings.spaced(grid.spacing), grid.first_price, grid.name)


@by_identity
def grids_by_name(grid: Grid | None) -> Mapping[str, Grid]:
    """The symbol's grids in force by name, each alone."""
    return {each.name: each.with_others(()) for each in grid.each} if grid else {}


@by_identity
def configured_grids(grid: Grid | None, settings: SymbolSettings) -> Mapping[str, Grid | None]:
    """Each configured grid by name: the one in force that the settings describe, or None."""
    held = grids_by_name(grid)
    return {
        name: each if (each := held.get(name)) and is_grid_of(each, own) else None
        for name, own in settings.each_grid.items()
    }


@by_identity
def kept_grids(grid: Grid | None, settings: SymbolSettings) -> Sequence[tuple[Grid, GridSettings]]:
    """The symbol's grids in force that are still configured, each alone with its settings."""
    found = configured_grids(grid, settings)
    return tuple((each, settings.each_grid[name]) for name, each in found.items() if each is not None)


def old_grid_id(symbol: str, settings: GridSettings) -> str:
    """The 9-character id that the same grid had before account tags."""
    spec = json.dumps(_geometry(symbol, settings), sort_keys=True)
    return f"g{hashlib.blake2s(spec.encode()).hexdigest()[:8]}"


def _geometry(symbol: str, settings: GridSettings) -> dict[str, str | int | None]:
    return {"symbol": symbol, "grid": settings.grid, "cells": settings.cells, **settings.geometry()}


def levels(
    settings: GridSettings, first_price: Decimal, market: Market, first_index: int | None = None
) -> tuple[Decimal, ...]:
    """N+1 levels, lowest first, each rounded to the nearest tick. `first_index`: of the lowest; None: at the start."""
    if first_index is None or first_index == settings.start_index(first_price):
        return tuple(market.price(level) for level in settings.raw_levels(first_price))
    indices = range(first_index, first_index + settings.cells + 1)
    return tuple(market.price(settings.level_at(first_price, index)) for index in indices)


def level_of(settings: GridSettings, first_price: Decimal, index: int) -> Decimal | None:
    """The level with this index before rounding; None where the kind has none, or it is no price."""
    try:
        level = settings.level_at(first_price, index)
    except IndexError:
        return None
    return level if level > 0 else None


def build_grid(
    symbol: str,
    settings: GridSettings,
    market: Market,
    first_price: Decimal,
    allocated: Decimal,
    now_ms: int,
    name: str = ONLY,
) -> Grid:
    """A grid ready to trade. Raises ConfigError when it cannot pay its fees or its cells are too small.

    `allocated`: to the grid, in quote; decides the checked size where none is configured. `name`: of one of several
    grids.
    """
    grid = unchecked_grid(symbol, settings, market, first_price, now_ms, name)
    problems = grid_problems(symbol, grid.levels, first_sizes(settings, allocated, market, first_price), market, name)
    if problems:
        raise ConfigError(problems, f"the grid of {symbol} at a price of {plain(first_price)}")
    return grid


def unchecked_grid(
    symbol: str, settings: GridSettings, market: Market, first_price: Decimal, now_ms: int, name: str = ONLY
) -> Grid:
    """The grid around a first price, whether or not it can trade."""
    return Grid(
        grid_id=grid_id(symbol, settings, first_price, name),
        name=name,
        symbol=symbol,
        levels=levels(settings, first_price, market),
        first_price=first_price,
        created_ms=now_ms,
        tick_size=market.tick_size,
        first_index=settings.start_index(first_price),
        spacing=settings.spacing_in_force,
    )


def rounded_again(grid: Grid, settings: GridSettings, market: Market) -> Grid:
    """The grid with its levels on the market's present tick size; `grid` itself where they are already."""
    if grid.tick_size == market.tick_size:
        return grid
    prices = levels(settings.spaced(grid.spacing), grid.first_price, market, grid.first_index)
    moved = max(abs(old - new) for old, new in zip(grid.levels, prices, strict=True))
    return grid.model_copy(
        update={"levels": prices, "tick_size": market.tick_size, "slack": grid.slack + moved},
    )


def configured_size(settings: GridSettings) -> Size | None:
    """The size of a cell with weight 1 that the settings name; None where it follows the allocation."""
    base, quote = settings.base_per_cell, settings.quote_per_cell
    return None if base is None and quote is None else Size(base=base, quote=quote)


def sizes_of(settings: GridSettings, size: Size, first_price: Decimal) -> tuple[Size, ...]:
    """The size of each cell of the range at its start, lowest first; `size`: of weight 1."""
    each = settings.cell_weights(first_price).each
    return tuple(map(size.weighted, each)) if each else (size,) * settings.cells


def configured_sizes(settings: GridSettings, first_price: Decimal) -> tuple[Size, ...]:
    """The size of each cell of the range at its start, lowest first; none where it follows the allocation."""
    size = configured_size(settings)
    return sizes_of(settings, size, first_price) if size else ()


def first_sizes(settings: GridSettings, allocated: Decimal, market: Market, first_price: Decimal) -> tuple[Size, ...]:
    """The size of each cell, lowest first, while the grid holds nothing; at least 0.01 quote."""
    total = settings.cell_weights(first_price).total
    money = cell_money(allocated, ZERO, total, total, market.taker_fee)
    return sizes_of(settings, configured_size(settings) or Size(quote=max(money, CENT)), first_price)


def grid_problems(
    symbol: str, prices: tuple[Decimal, ...], sizes: Sequence[Size], market: Market, name: str = ONLY
) -> list[Problem]:
    """Why this grid cannot start: equal levels, a cell that does not pay its fees, is too small or too large.

    `sizes`: one for each cell. `name`: of one of several grids.
    """
    found = level_problems(symbol, prices, market, name)
    return found if _coincide(prices) else found + size_problems(symbol, prices, sizes, market, name)


def unfit_problems(
    symbol: str,
    settings: GridSettings,
    prices: tuple[Decimal, ...],
    market: Market,
    first_price: Decimal,
    name: str = ONLY,
) -> tuple[Problem, ...]:
    """Why a grid in force must not buy any more. The exchange may change its filters and fees at any time.

    A size that follows the allocation is never too small: the nearest cells get what the exchange wants at least.
    """
    found = level_problems(symbol, prices, market, name)
    return tuple(found or minimum_problems(symbol, prices, configured_sizes(settings, first_price), market, name))


def _coincide(prices: tuple[Decimal, ...]) -> bool:
    return any(low >= high for low, high in pairwise(prices))


def level_problems(symbol: str, prices: tuple[Decimal, ...], market: Market, name: str = ONLY) -> list[Problem]:
    """Why cells between these levels cannot earn anything: equal levels, or a cell that does not pay its fees."""
    field = dotted(grid_place(symbol, name))
    if _coincide(prices):
        rule = f"two levels fall on the same price (tick size {plain(market.tick_size)})"
        return [Problem(f"{field}.cells", str(len(prices) - 1), rule, "Use fewer cells or a wider range")]
    fee = market.maker_fee
    worst = min(net_profit(low, high, fee, fee) for low, high in pairwise(prices))
    if worst > 0:
        return []
    rule = f"the narrowest cell loses {plain(round(-worst * 100, 4))} % after fees"
    return [Problem(f"{field}.cells", str(len(prices) - 1), rule, "Use fewer cells or a wider range")]


def size_problems(
    symbol: str, prices: tuple[Decimal, ...], sizes: Sequence[Size], market: Market, name: str = ONLY
) -> list[Problem]:
    """Why cells of these sizes cannot be bought at their levels: below the exchange's minimum or above its maximum."""
    found = minimum_problems(symbol, prices, sizes, market, name)
    large = [
        low for low, size in zip(prices, sizes, strict=False) if not market.small_enough(low, market.qty(size.qty(low)))
    ]
    if large:
        most = " or ".join(
            f"{plain(bound)} {unit}"
            for bound, unit in ((market.max_qty, market.base), (market.max_notional, market.quote))
            if bound is not None
        )
        rule = f"an order at {plain(large[0])} is above the exchange's maximum ({most})"
        found.append(Problem(*_size_field(symbol, name, sizes[-1]), rule, "Use more cells or less money"))
    return found


def minimum_problems(
    symbol: str, prices: tuple[Decimal, ...], sizes: Sequence[Size], market: Market, name: str = ONLY
) -> list[Problem]:
    """Why cells of these sizes cannot be bought at their levels: below the exchange's minimum."""
    small = [
        low for low, size in zip(prices, sizes, strict=False) if not market.large_enough(low, market.qty(size.qty(low)))
    ]
    if not small:
        return []
    rule = f"an order at {plain(small[0])} is below the exchange's minimum ({plain(market.min_notional)} quote)"
    return [Problem(*_size_field(symbol, name, sizes[-1]), rule, "Use fewer cells or more money")]


def _size_field(symbol: str, name: str, size: Size) -> tuple[str, str]:
    """The setting that names the size, and its value."""
    field = dotted(grid_place(symbol, name))
    if size.quote is not None:
        return f"{field}.quote_per_cell", plain(size.quote)
    return f"{field}.base_per_cell", f"{size.base} base"


def build_cells(grid: Grid, start: StartMode, first_cycle: int = 0) -> list[Cell]:
    """All cells, IDLE. `first_cycle`: higher than every cycle that the grid has used.

    With a balanced start, cells at or above the first price first buy their base at the market price.
    """
    cells = []
    for index, (low, high) in zip(grid.indices, pairwise(grid.levels), strict=True):
        key = cell_key(grid.grid_id, index)
        entry = start is StartMode.BALANCED and low >= grid.first_price
        cells.append(
            Cell(
                key=key,
                grid_id=grid.grid_id,
                index=index,
                buy_price=low,
                sell_price=high,
                cycle=first_cycle,
                entry=entry,
            )
        )
    return cells
