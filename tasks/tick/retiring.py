"""A symbol that left the settings: it no longer buys, sells what it holds, and writes off what is unsellable. Pure."""

from collections.abc import Sequence

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.exchange.models import Market
from tasks.funds.models import FillMove
from tasks.grid.cells import has_lot
from tasks.grid.models import Cell, CellState
from tasks.ledger.booking import write_off
from tasks.tick.fold import Folded
from tasks.tick.grid_change import BaseMoved, is_dust, merged_dust


def gather_dust(folded: Folded, market: Market, keys: Keys, now_ms: int) -> BaseMoved | None:
    """Gather all remainders, and what was earned in base, in one cell, which sells it.

    It is written off where nothing else is left and it is too small to sell.
    Changes `folded`. None where there is nothing to do.
    """
    dust = [cell for _, cell in sorted(folded.cells.items()) if is_dust(cell)]
    selling = [cell for _, cell in sorted(folded.cells.items()) if cell.state in (CellState.HOLDING, CellState.SELLING)]
    if not dust or any(cell.state is CellState.BUYING for cell in folded.cells.values()):
        return None
    target = selling[0] if selling else max(dust, key=lambda cell: (cell.qty, cell.key))
    others = [cell for cell in dust if cell.key != target.key]
    folded.cells |= {cell.key: cell.model_copy(update={"earned": ZERO}) for cell in dust}  # nothing is kept any more
    others, target = [folded.cells[cell.key] for cell in others], folded.cells[target.key]
    if others or has_lot(target, market):
        return merged_dust(folded, target, others, market, keys, now_ms)
    return None if selling else BaseMoved(written_off(folded, [target.key], now_ms), [])


def written_off(folded: Folded, cell_keys: Sequence[str], now_ms: int) -> list[FillMove]:
    """Write off, at cost, what these cells hold: the moves. Changes `folded`. They have their own ids: booked once."""
    moves = []
    for key in cell_keys:
        before = folded.cells[key]
        name = f"write-off:{key}:{before.cycle}:{now_ms}"  # with its time: a cell may come back with this cycle
        folded.book, after, fill = write_off(folded.book, before, now_ms, name)
        folded.cells[key] = _emptied(after)
        folded.fills.append(fill)
        folded.touched.add(key)
        moves.append(FillMove(trade_id=name, at_ms=now_ms, reservation_id="", used_delta=-before.used_units))
    return moves


def _emptied(cell: Cell) -> Cell:
    return cell.model_copy(update={"state": CellState.IDLE, "order_id": None, "cycle": cell.cycle + 1})
