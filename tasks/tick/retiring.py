"""A symbol that left the settings: it no longer buys, sells what it holds, and writes off what is unsellable. Pure."""

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.exchange.models import Market
from tasks.funds.models import FillMove, Write
from tasks.grid.cells import has_lot
from tasks.grid.models import Cell, CellState
from tasks.ledger.booking import write_off
from tasks.tick.fold import Folded
from tasks.tick.grid_change import BaseMoved, is_dust, merged_dust
from tasks.tick.records import fill_writes


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
    return None if selling else written_off(folded, [target.key], keys, now_ms)


def written_off(folded: Folded, cell_keys: list[str], keys: Keys, now_ms: int) -> BaseMoved:
    """Write off, at cost, what these cells hold. Changes `folded`. The moves have their own ids: booked only once."""
    symbol = folded.book.symbol
    moves: list[FillMove] = []
    changes: list[Write] = []
    for key in cell_keys:
        before = folded.cells[key]
        name = f"write-off:{key}:{before.cycle}:{now_ms}"  # with its time: a cell may come back with this cycle
        folded.book, after, fill = write_off(folded.book, before, now_ms, name)
        folded.cells[key] = _emptied(after)
        folded.fills.append(fill)
        moves.append(FillMove(trade_id=name, at_ms=now_ms, reservation_id="", used_delta=-before.used_units))
        cell = folded.cells[key].model_dump_json()
        changes.append(Write(key=keys.cells(symbol), verb="HSET", field=key, value=cell))
        changes += fill_writes(keys, fill)
    changes.append(Write(key=keys.book(symbol), verb="SET", value=folded.book.model_dump_json()))
    return BaseMoved(moves, changes)


def _emptied(cell: Cell) -> Cell:
    return cell.model_copy(update={"state": CellState.IDLE, "order_id": None, "cycle": cell.cycle + 1})
