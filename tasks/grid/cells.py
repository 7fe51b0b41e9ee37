"""The cell's state machine: what placing and settling an order makes of it. Pure."""

from decimal import Decimal

from tasks.exchange.models import Market, Side
from tasks.grid.models import Cell, CellState, Grid, PlannedOrder


def is_off_level(cell: Cell, grid: Grid) -> bool:
    """Whether a cell of the grid has other prices than the grid: it is from the last time the grid was in force.

    A grid around the first price has the same id whenever it comes back, and other levels.
    """
    if cell.grid_id != grid.grid_id or not 0 <= cell.index < len(grid.levels) - 1:
        return False
    return (cell.buy_price, cell.sell_price) != grid.levels[cell.index : cell.index + 2]


def with_order(cell: Cell, order: PlannedOrder) -> Cell:
    """The cell once the order is journalled: IDLE → BUYING or HOLDING → SELLING."""
    state = CellState.BUYING if order.side is Side.BUY else CellState.SELLING
    return cell.model_copy(update={"state": state, "order_id": order.client_id, "retry_ms": 0})


def settled(cell: Cell, side: Side, filled: Decimal, market: Market, retry_ms: int = 0) -> Cell:
    """The cell once its order has ended with `filled` base in all (fills are already in `cell.qty`).

    What can be sold makes it HOLDING, a remainder below the minimum stays as dust for the next lot. The cycle moves
    on whenever the next order of either side would otherwise repeat an id.
    """
    sellable = market.large_enough(cell.sell_price, market.qty(cell.qty))
    bought = side is Side.BUY and sellable
    round_done = side is Side.SELL and filled > 0 and not sellable
    return cell.model_copy(
        update={
            "state": CellState.HOLDING if sellable else CellState.IDLE,
            "order_id": None,
            "cycle": cell.cycle if bought and filled > 0 else cell.cycle + 1,
            "rounds": cell.rounds + int(round_done),
            "entry": cell.entry and filled == 0,
            "retry_ms": retry_ms,
        }
    )
