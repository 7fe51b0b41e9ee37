"""The cell's state machine: how placing and ending an order changes it. Pure."""

from decimal import Decimal

from tasks.base.money import ceil_to, exact
from tasks.base.unchecked import changed
from tasks.exchange.models import Market, Side
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.plan_models import PlannedOrder


def is_off_level(cell: Cell, grid: Grid) -> bool:
    """Whether the cell has the id of the grid but other prices: it is from an earlier time that the grid was in force.

    A grid around the first price keeps its id when it comes back, with other levels. Prices that differ only because
    the tick size changed are the grid's own.
    """
    ends = grid.ends(cell)
    return ends is not None and ends != (cell.buy_price, cell.sell_price) and _distance(cell, ends) > grid.slack


def is_unrounded(cell: Cell, grid: Grid) -> bool:
    """Whether the cell has other prices than its levels, but only because the tick size changed."""
    ends = grid.ends(cell)
    return ends is not None and 0 < _distance(cell, ends) <= grid.slack


def _distance(cell: Cell, ends: tuple[Decimal, Decimal]) -> Decimal:
    """How far the cell's prices are from its levels, `ends`."""
    low, high = ends
    return max(abs(cell.buy_price - low), abs(cell.sell_price - high))


def has_lot(cell: Cell, market: Market) -> bool:
    """Whether the cell has a lot that is large enough to sell. Base that cost nothing is none."""
    return market.large_enough(cell.sell_price, market.qty(cell.lot))


def recoup_qty(cell: Cell, price: Decimal, bid: Decimal, market: Market) -> Decimal:
    """Base to sell at `price` so that the cell's lot brings back its cost and the fee, at most what is held.

    A sell that fills at once gets the `bid`. Never less than the exchange takes.
    """
    held = market.qty(cell.qty)
    with exact():
        net = bid * (1 - market.taker_fee) if bid >= price else price * (1 - market.maker_fee)
        enough = ceil_to(cell.basis / net, market.lot_step)
        least = ceil_to(max(market.min_qty, market.min_notional / price), market.lot_step)
    return min(max(min(enough, market.qty(cell.lot)), least), held)


def with_order(cell: Cell, order: PlannedOrder) -> Cell:
    """The cell once the order is journalled: IDLE → BUYING or HOLDING → SELLING (at the market also from IDLE)."""
    state = CellState.BUYING if order.side is Side.BUY else CellState.SELLING
    return changed(cell, state=state, order_id=order.client_id, retry_ms=0)


def lightened(cell: Cell, market: Market) -> Cell:
    """The cell after it gave up base. What is left of a lot may be too small to sell: then it is kept as dust.

    The cycle is raised then, because the lot's buy has used it.
    """
    if cell.state is not CellState.HOLDING or has_lot(cell, market):
        return cell
    freed = {"state": CellState.IDLE, "cycle": cell.cycle + 1, "retry_ms": 0, "refusals": 0, "refusal": None}
    return cell.model_copy(update=freed)


def holding_order(cell: Cell, side: Side, client_id: str, cycle: int) -> Cell:
    """The cell with an order that was not planned for it: found on the exchange. Its next order has a higher cycle."""
    state = CellState.BUYING if side is Side.BUY else CellState.SELLING
    return cell.model_copy(update={"state": state, "order_id": client_id, "cycle": max(cell.cycle, cycle)})


def settled(cell: Cell, side: Side, filled: Decimal, market: Market, retry_ms: int = 0) -> Cell:
    """The cell after its order has ended with `filled` base in all (already in `cell.qty`).

    HOLDING where the cell has a lot to sell; else IDLE. A remainder is kept as dust for the next lot, and what the
    round earned in base is kept for good. The cycle is raised whenever the next order of either side would repeat a
    client id. `retry_ms`: no order before this time.
    """
    sellable = has_lot(cell, market)
    bought = side is Side.BUY and sellable
    round_done = side is Side.SELL and filled > 0 and not sellable
    return changed(
        cell,
        state=CellState.HOLDING if sellable else CellState.IDLE,
        order_id=None,
        cycle=cell.cycle if bought and filled > 0 else cell.cycle + 1,
        rounds=cell.rounds + int(round_done),
        entry=cell.entry and filled == 0,
        retry_ms=retry_ms,
    )
