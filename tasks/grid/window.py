"""Where a grid's range is: it follows the price by whole cells, or the grid starts anew around the price. Pure.

A range moves only after the price has left it by a whole cell, and then as far as its outermost cell holds the price.
An infinity grid keeps cells on either side of the price: its range moves that much earlier.
The number of cells stays, and so does the rule for their size: an equal part of the allocation, or what is left of it
by the cells that hold nothing. What cells outside the range hold is carried: it is sold at their own prices.
"""

from collections.abc import Callable
from decimal import Decimal

from tasks.exchange.models import Market
from tasks.grid.levels import levels
from tasks.grid.models import Grid
from tasks.settings.grids import GridSettings
from tasks.settings.grids.common import NO_TRAIL


def place_of(grid: Grid, settings: GridSettings, market: Market, price: Decimal) -> int:
    """The index that the lowest level should have now.

    Where the settings no longer let the range move, it is back at its start.
    """
    limits, first, start = settings.trail_limits, grid.first_index, settings.start_index(grid.first_price)
    if limits == NO_TRAIL:
        return start
    if (limits.up is None and first > start) or (limits.down is None and first < start):
        first = start

    level = _level_at(grid, settings, market)
    top, room = first + settings.cells, settings.room
    falls_to, rises_to = _moves_at(first, grid, settings, market)
    if limits.up is not None and rises_to is not None and rises_to <= price:
        while level(top - room) <= price and level(top + 1) <= limits.up:
            top += 1
        return top - settings.cells
    if limits.down is not None and falls_to is not None and falls_to >= price:
        while level(first + room) > price and level(first - 1) >= limits.down:
            first -= 1
    return first


def moves_at(grid: Grid, settings: GridSettings, market: Market) -> tuple[Decimal | None, Decimal | None]:
    """The range moves at or below the first price, and at or above the second; None: never in that direction."""
    return _moves_at(grid.first_index, grid, settings, market)


def _moves_at(first: int, grid: Grid, settings: GridSettings, market: Market) -> tuple[Decimal | None, Decimal | None]:
    limits = settings.trail_limits
    if limits == NO_TRAIL:
        return None, None
    room, top = settings.room, first + settings.cells
    level = _level_at(grid, settings, market)
    falls_to = level(first - 1 + room) if limits.down is not None and level(first - 1) >= limits.down else None
    rises_to = level(top + 1 - room) if limits.up is not None and level(top + 1) <= limits.up else None
    return falls_to, rises_to


def _level_at(grid: Grid, settings: GridSettings, market: Market) -> Callable[[int], Decimal]:
    """Gives the level with an index, on the market's tick size."""
    return lambda index: market.price(settings.level_at(grid.first_price, index))


def moved(grid: Grid, first_index: int, settings: GridSettings, market: Market, now_ms: int) -> Grid:
    """The grid with its range at `first_index`."""
    found = grid.model_copy(
        update={
            "first_index": first_index,
            "levels": levels(settings, grid.first_price, market, first_index),
            "created_ms": now_ms,
        }
    )
    lowest, highest = grid.covered or (grid.indices[0], grid.indices[-1])
    covered = (min(lowest, found.indices[0]), max(highest, found.indices[-1]))
    return found.model_copy(update={"covered": covered})


def has_left(grid: Grid, settings: GridSettings, price: Decimal) -> bool:
    """Whether the price has left the range by a cell, where the grid starts anew then."""
    goes_up, goes_down = settings.recentres(up=True), settings.recentres(up=False)
    if not goes_up and not goes_down:
        return False
    below, above = grid.beyond
    return (goes_up and price >= above) or (goes_down and price <= below)
