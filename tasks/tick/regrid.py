"""Setting a grid: the first one, or another after the settings changed. Pure."""

from collections.abc import Sequence

from tasks.base.keys import Keys
from tasks.funds.models import Write
from tasks.grid.models import Cell, CellState, Grid
from tasks.tick.fold import Folded


def spent(cell: Cell) -> bool:
    """Whether nothing would be lost with the cell."""
    return cell.state is CellState.IDLE and cell.order_id is None and cell.qty == 0 and cell.basis == 0


def regrid(folded: Folded, grid: Grid, fresh: Sequence[Cell], keys: Keys) -> list[Write]:
    """Put `grid` in force: cells that hold or have an order stay, spent ones go, missing ones come.

    Changes `folded` and returns the records to write.
    """
    wanted = {cell.key for cell in fresh}
    kept = {key: cell for key, cell in folded.cells.items() if not spent(cell)}
    gone = [key for key in folded.cells if key not in kept and key not in wanted]
    added = [cell for cell in fresh if cell.key not in kept]
    folded.cells = kept | {cell.key: cell for cell in added}
    symbol = grid.symbol
    changes = [Write(key=keys.grid(symbol), verb="SET", value=grid.model_dump_json())]
    changes += [Write(key=keys.cells(symbol), verb="HDEL", field=key) for key in gone]
    changes += [
        Write(key=keys.cells(symbol), verb="HSET", field=cell.key, value=cell.model_dump_json()) for cell in added
    ]
    if not folded.book.opened_ms:
        folded.book = folded.book.model_copy(update={"opened_ms": grid.created_ms})
        changes.append(Write(key=keys.book(symbol), verb="SET", value=folded.book.model_dump_json()))
    return changes
