"""What each cell that waits for a buy would buy now. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Market
from tasks.grid.models import Cell, Grid
from tasks.grid.plan_models import MARKET_SLIPPAGE, Limits
from tasks.grid.sizing import EMPTY_STATES, amounts, grid_money, sized
from tasks.market.models import Snapshot
from tasks.settings.grids.common import ONE, CellWeights


def buy_price(cell: Cell, ask: Decimal, market: Market) -> Decimal | None:
    """The cell's level while a buy there would rest; for an entry, a price that fills at once; else None."""
    if cell.buy_price < ask:
        return cell.buy_price
    if cell.entry:
        return market.price_up(ask * (1 + MARKET_SLIPPAGE))
    return None


def cell_amounts(snapshot: Snapshot, grid: Grid, cells: Sequence[Cell], limits: Limits) -> Mapping[str, Decimal]:
    """Base amount by cell key; a cell left out has no money, or does not buy at this price.

    `cells`: all of the symbol, nearest to the price first.
    """
    found = _of_one(grid, snapshot, grid, cells, limits)
    for other in grid.others:
        found |= _of_one(other, snapshot, grid, cells, limits)
    return found


def _of_one(one: Grid, snapshot: Snapshot, grid: Grid, cells: Sequence[Cell], limits: Limits) -> dict[str, Decimal]:
    """Of the cells of one grid among all of the symbol, `grid`."""
    market, ask, keys, own_limits = snapshot.market, snapshot.ask, one.own_keys, limits.of(one.grid_id)
    empty = [cell for cell in cells if cell.state in EMPTY_STATES and cell.key in keys]
    weights = own_limits.weights or CellWeights((), Decimal(len(one.levels) - 1))
    differ = bool(weights.each or weights.entries)

    def weight_of(cell: Cell) -> Decimal:
        return weights.of(cell.index - one.first_index, entry=cell.entry)

    wanting = [
        (cell, price, weight_of(cell) if differ else ONE)
        for cell in empty
        if (price := buy_price(cell, ask, market)) is not None
    ]
    if own_limits.size is not None:
        return sized(own_limits.size, wanting, market)
    without = sum(map(weight_of, empty), ZERO) if weights.each else len(empty)
    own = [cell for cell in cells if cell.key in keys]
    allocated, used = from_units(limits.allocated), from_units(limits.used)
    money = grid_money(allocated, used, grid, own, cells, own_limits.share)
    return amounts(wanting, market, *money, weights.total, without)
