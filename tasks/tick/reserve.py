"""The reserve of an infinity grid: the base that its highest cell holds for all levels above the range. Pure."""

from collections.abc import Mapping
from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO, exact
from tasks.exchange.models import Market
from tasks.exchange.order_ids import cell_key
from tasks.funds.models import FillMove, Write
from tasks.grid.cells import has_lot
from tasks.grid.models import Cell, CellState, Grid, Size
from tasks.ledger.costs import left_after, recouped_basis
from tasks.settings.grids import GridSettings
from tasks.tick.fold import Folded
from tasks.tick.grid_change import BaseMoved
from tasks.tick.payers import in_sell

_FAR_TOO_MUCH = 3  # × what a cell buys: only the reserve holds so much


def spread_reserve(
    folded: Folded,
    before: Grid | None,
    grid: Grid,
    settings: GridSettings,
    size: Size | None,
    market: Market,
    keys: Keys,
    now_ms: int,
) -> BaseMoved | None:
    """Give each cell that the range has reached for the first time its part of the reserve; the highest keeps the rest.

    `grid`: one grid of the symbol; `before`: the same before this tick. `size`: of a cell; None: not known. Changes
    `folded`. None where nothing moves. The move has its own id: repeated, it changes nothing.
    """
    share, top = settings.reserve_share, folded.cells.get(cell_key(grid.grid_id, grid.top_index))
    if share is None or top is None:
        return None
    own = {cell.index: cell for cell in folded.cells.values() if cell.grid_id == grid.grid_id}
    if before is not None and before.top_index < grid.top_index:
        changed = _spread(folded, own, before.top_index, share, market)
    else:
        changed = _found_again(folded, own, size)
    if not changed:
        return None
    changed[-1] = _joined(top, changed[-1])
    changed = [_settled(cell, market) for cell in changed]
    used_delta = sum(cell.used_units - folded.cells[cell.key].used_units for cell in changed)
    folded.cells |= {cell.key: cell for cell in changed}
    name = f"reserve:{top.key}:{now_ms}"
    moves = [FillMove(trade_id=name, at_ms=now_ms, reservation_id="", used_delta=used_delta)]
    field = keys.cells(grid.symbol)
    return BaseMoved(moves, [Write(key=field, verb="HSET", field=cell.key, value=cell) for cell in changed])


def _spread(folded: Folded, own: Mapping[int, Cell], holder_index: int, share: Decimal, market: Market) -> list[Cell]:
    """The cells after the former highest gave up the reserve, and last what is left for the highest now."""
    holder = own.get(holder_index)
    if holder is None or not holder.qty:
        return []
    locked = in_sell(folded.intents, holder)
    rest, kept = _divided(holder, locked or market.qty(holder.qty * share))
    changed = [kept]
    for index in range(holder_index + 1, max(own)):
        cell = own.get(index)
        if cell is not None and not cell.qty and cell.order_id is None:
            rest, part = _divided(rest, market.qty(rest.qty * share))
            changed.append(_joined(cell, part))
    return [*changed, rest]


def _found_again(folded: Folded, own: Mapping[int, Cell], size: Size | None) -> list[Cell]:
    """After a rebuild from the exchange, the cell whose order bought the reserve gives it up.

    It holds far more than a cell buys, and the highest holds nothing. The cells between have what they need.
    """
    if size is None or own[max(own)].qty:
        return []
    rich = [cell for cell in own.values() if cell.qty > _FAR_TOO_MUCH * size.qty(cell.buy_price)]
    if not rich:
        return []
    holder = max(rich, key=lambda cell: (cell.qty, cell.index))
    rest, kept = _divided(holder, in_sell(folded.intents, holder))
    return [kept, rest]


def _divided(cell: Cell, amount: Decimal) -> tuple[Cell, Cell]:
    """The cell without `amount` of its base, and the cell with that amount alone; the cost in proportion.

    Base that cost nothing goes last.
    """
    with exact():
        basis = recouped_basis(cell, amount, ZERO)
        rest = cell.model_copy(update=left_after(cell, amount, basis, recoups=True))
        return rest, cell.model_copy(update={"qty": amount, "basis": basis, "earned": cell.earned - rest.earned})


def _joined(cell: Cell, given: Cell) -> Cell:
    """The cell with the base and the cost of another."""
    with exact():
        sums = {name: getattr(cell, name) + getattr(given, name) for name in ("qty", "basis", "earned")}
        return cell.model_copy(update=sums)


def _settled(cell: Cell, market: Market) -> Cell:
    """The cell in the state that follows from what it holds. One that has an order keeps its state."""
    if cell.order_id is not None:
        return cell
    return cell.model_copy(
        update={"state": CellState.HOLDING if has_lot(cell, market) else CellState.IDLE, "entry": False}
    )
