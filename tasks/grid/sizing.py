"""How much a cell buys now. Pure.

A configured size is used as it is. Else a cell's money follows the allocation:
min(allocation ÷ cells, (allocation − used) ÷ cells that hold nothing) ÷ (1 + fee), floored to 0.01 quote. Cells count
by their weights: relative sizes, 1 where all are equal.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from tasks.base.money import ZERO, ceil_to, exact, floor_to, from_units, units_up
from tasks.exchange.models import Market, Side
from tasks.grid.models import Cell, CellState, Grid, Size
from tasks.grid.plan_models import IdleReason
from tasks.settings.grids.common import ONE

CENT = Decimal("0.01")
ABOVE_MINIMUM = Decimal("1.1")  # × the exchange's minimum: the size of cells where the allocation is too small for all
FEE_ROUNDING_UNITS = 2_000  # 0.00002 quote: fees paid in another coin are rounded
EMPTY_STATES = (CellState.IDLE, CellState.BUYING)
_FEE_ROUNDING = from_units(FEE_ROUNDING_UNITS)


@lru_cache(maxsize=4096)  # every resting buy is looked at in every tick
def reserve_units(price: Decimal, qty: Decimal, fee: Decimal) -> int:
    """Quote units (1e-8) a buy may cost: price × amount plus fee, rounded up, plus 0.00002 quote for rounded fees."""
    with exact():
        return units_up(price * qty * (1 + fee)) + FEE_ROUNDING_UNITS


# A cell that wants to buy, the price (quote per base), and its relative size.
Wanted = tuple[Cell, Decimal, Decimal]


def cell_money(allocated: Decimal, used: Decimal, cells: Decimal | int, empty: Decimal | int, fee: Decimal) -> Decimal:
    """Quote for a cell with weight 1 and without a configured size; 0 where nothing is left.

    `allocated`, `used`: of the symbol, in quote. `cells`: weights of all cells of the grid. `empty`: of those that
    hold nothing.
    """
    share = allocated / cells
    if empty:
        share = min(share, (allocated - used) / empty)
    return max(floor_to((share - _FEE_ROUNDING) / (1 + fee), CENT), ZERO)


def grid_money(
    allocated: Decimal, used: Decimal, grid: Grid, own: Iterable[Cell], cells: Iterable[Cell], share: Decimal
) -> tuple[Decimal, Decimal]:
    """Quote that one grid of a symbol is allocated, and what of it is used. The symbol's only grid has all.

    `allocated`, `used`: of the symbol. `grid`: all its grids. `own`: the cells of this one; `cells`: of the symbol.
    `share`: of this grid. Base in cells that belong to no grid uses that share of every grid's part.
    """
    if not grid.others:
        return allocated, used
    in_own = from_units(sum(cell.used_units for cell in own))
    elsewhere = used - from_units(sum(cell.used_units for cell in cells if grid.has(cell)))
    return allocated * share, in_own + elsewhere * share


def holds_nothing(cell: Cell) -> bool:
    """Whether the cell waits for a buy or for its buy to fill."""
    return cell.state in EMPTY_STATES


def smallest_qty(market: Market, price: Decimal) -> Decimal:
    """Base amount worth 1.1 × the exchange's minimum at `price`, a whole number of lots."""
    least = max(market.min_qty, market.min_notional / price, market.lot_step)
    return ceil_to(least * ABOVE_MINIMUM, market.lot_step)


def amounts(
    wanting: Iterable[Wanted],
    market: Market,
    allocated: Decimal,
    used: Decimal,
    cells: Decimal | int,
    empty: Decimal | int,
) -> dict[str, Decimal]:
    """Base amount by cell key, a whole number of lots, for cells that want to buy and follow the allocation.

    `cells`, `empty`: see `cell_money`. `wanting` comes nearest first. Where the allocation is too small for all cells,
    the nearest that can be funded get 1.1 × the exchange's minimum and the others are left out.
    """
    wanted = list(wanting)
    size = Size.of_quote(cell_money(allocated, used, cells, empty, market.taker_fee))
    found = {} if size is None else sized(size, wanted, market)
    if all(market.large_enough(price, found.get(cell.key, ZERO)) for cell, price, _ in wanted):
        return found
    return _smallest(wanted, market, allocated - used)


def sized(size: Size, wanting: Iterable[Wanted], market: Market) -> dict[str, Decimal]:
    """Base amount by cell key, a whole number of lots. `size`: of a cell with weight 1."""
    base, quote, lot = size.base, size.quote, market.lot_step
    return {cell.key: _lots(base, quote, price, lot, weight) for cell, price, weight in wanting}


def lots(size: Size, price: Decimal, lot_step: Decimal, weight: Decimal = ONE) -> Decimal:
    """Base amount that a cell of this weight buys at `price`, a whole number of lots. `size`: of weight 1."""
    return _lots(size.base, size.quote, price, lot_step, weight)


@lru_cache(maxsize=4096)  # every empty cell is looked at in every tick
def _lots(base: Decimal | None, quote: Decimal | None, price: Decimal, lot_step: Decimal, weight: Decimal) -> Decimal:
    return floor_to(Size(base=base, quote=quote).weighted(weight).qty(price), lot_step)


def _smallest(wanted: Iterable[Wanted], market: Market, money: Decimal) -> dict[str, Decimal]:
    left, found = units_up(money), {}
    for cell, price, _ in wanted:
        qty = smallest_qty(market, price)
        units = reserve_units(price, qty, market.taker_fee)
        if units <= left:
            left -= units
            found[cell.key] = qty
    return found


def filter_violation(market: Market, side: Side, price: Decimal, qty: Decimal, reference: Decimal) -> IdleReason | None:
    """Which of the exchange's filters would refuse the order; such an order is not sent.

    `reference`: the market's price, quote per base.
    """
    if not market.large_enough(price, qty):
        return IdleReason.BELOW_MINIMUM
    if not market.small_enough(price, qty):
        return IdleReason.ABOVE_MAXIMUM
    if not market.near_enough(side, price, reference):
        return IdleReason.TOO_FAR
    return None
