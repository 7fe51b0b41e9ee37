"""Setting a grid: the first one, or another after the settings changed; moving what the old one holds. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.exchange.models import Market
from tasks.funds.models import FillMove, Write
from tasks.grid.cells import has_lot, is_off_level, is_unrounded
from tasks.grid.models import Cell, CellState, Grid
from tasks.ledger.rules import total
from tasks.tick.fold import Folded
from tasks.tick.records import grid_writes


def is_empty(cell: Cell) -> bool:
    """Whether the cell holds nothing and has no order."""
    return cell.order_id is None and cell.state is CellState.IDLE and cell.qty == 0 and cell.basis == 0


def is_dust(cell: Cell) -> bool:
    """Whether the cell holds what it does not sell by itself: a small remainder, or what it earned in base."""
    return cell.order_id is None and cell.state is CellState.IDLE and (cell.qty != 0 or cell.basis != 0)


def change_grid(folded: Folded, grid: Grid, fresh: Sequence[Cell], keys: Keys) -> list[Write]:
    """Put `grid` in force: cells that hold base or have an order stay, empty cells go, missing cells are added.

    An empty cell that is not in `fresh` stays where it belongs to the grid's range. Changes `folded` and returns the
    records to write.
    """
    wanted = {cell.key for cell in fresh}
    kept = {
        key: cell for key, cell in folded.cells.items() if not is_empty(cell) or (grid.has(cell) and key not in wanted)
    }
    gone = [key for key in folded.cells if key not in kept and key not in wanted]
    added = [cell for cell in fresh if cell.key not in kept]
    folded.cells = kept | {cell.key: cell for cell in added}
    symbol = grid.symbol
    changes = grid_writes(keys, grid)
    changes += [Write(key=keys.cells(symbol), verb="HDEL", field=key) for key in gone]
    changes += [
        Write(key=keys.cells(symbol), verb="HSET", field=cell.key, value=cell.model_dump_json()) for cell in added
    ]
    if not folded.book.opened_ms:
        folded.book = folded.book.model_copy(update={"opened_ms": grid.created_ms})
        changes.append(Write(key=keys.book(symbol), verb="SET", value=folded.book.model_dump_json()))
    return changes


def level_cells(folded: Folded, grid: Grid, keys: Keys) -> list[Write]:
    """Give cells without an order the prices of the grid in force.

    Theirs are from an earlier time that it was in force (only idle cells change then, and a lot is sold at its own
    price), or from an earlier tick size. Changes `folded` and returns the records to write.
    """
    changes = []
    without_order = [(key, cell) for key, cell in folded.cells.items() if cell.order_id is None]
    for key, cell in sorted(without_order):
        ends = grid.ends_of(cell.index)
        if ends is None or ends == (cell.buy_price, cell.sell_price):
            continue
        if is_unrounded(cell, grid) or (cell.state is CellState.IDLE and is_off_level(cell, grid)):
            low, high = ends
            folded.cells[key] = cell.model_copy(update={"buy_price": low, "sell_price": high})
            text = folded.cells[key].model_dump_json()
            changes.append(Write(key=keys.cells(grid.symbol), verb="HSET", field=key, value=text))
    return changes


class BaseMoved(NamedTuple):
    """Base moved from cells to others: the moves of money to book, and the records to write."""

    moves: list[FillMove]
    writes: list[Write]


def move_dust(folded: Folded, grid: Grid, price: Decimal, market: Market, keys: Keys, now_ms: int) -> BaseMoved | None:
    """Move the dust in cells of earlier grids and ranges, with its cost, to the cell of `grid` nearest to the price.

    What they earned in base stays earned there. Changes `folded`. None where there is no such dust. The moves have
    their own ids: repeated, they change nothing.
    """
    dust = [folded.cells[key] for key in folded.cells.keys() - grid.cell_keys if is_dust(folded.cells[key])]
    dust.sort(key=lambda cell: cell.key)
    own = [cell for cell in folded.cells.values() if grid.has(cell)] if dust else []
    if not own:
        return None
    target = min(own, key=lambda cell: (cell.order_id is not None, abs(cell.buy_price - price), cell.key))
    return merged_dust(folded, target, dust, market, keys, now_ms)


def gather_small(
    folded: Folded, grid: Grid, price: Decimal, market: Market, keys: Keys, now_ms: int
) -> BaseMoved | None:
    """Gather what is too small to be sold at `price` cell by cell in one cell, where together it is enough.

    For a sale of everything: lots that were just large enough at their own price, remainders, base that was earned.
    Changes `folded`. None where there is nothing to gather.
    """
    free = [cell for _, cell in sorted(folded.cells.items()) if cell.order_id is None and cell.qty]
    small = [cell for cell in free if not market.large_enough(price, market.qty(cell.qty))]
    target = max(free, key=lambda cell: (cell.qty, cell.key), default=None)
    others = [cell for cell in small if target and cell.key != target.key]
    if target is None or not others:
        return None
    if not market.large_enough(price, market.qty(total(cell.qty for cell in [target, *others]))):
        return None
    return merged_dust(folded, target, others, market, keys, now_ms, grid)


def merged_dust(
    folded: Folded,
    target: Cell,
    sources: Sequence[Cell],
    market: Market,
    keys: Keys,
    now_ms: int,
    grid: Grid | None = None,
) -> BaseMoved:
    """Move what `sources` hold, with its cost, into `target`, which sells its lot if large enough. Changes `folded`.

    Sources are deleted, but those in the range of `grid` stay, empty.
    """
    symbol, moves, changes = folded.book.symbol, [], []
    for cell in sources:
        sums = {name: getattr(target, name) + getattr(cell, name) for name in ("qty", "basis", "earned")}
        merged = target.model_copy(update=sums)
        used_delta = merged.used_units - target.used_units - cell.used_units
        name = f"dust:{cell.key}:{cell.cycle}:{now_ms}"  # with its time: a cell may come back with this cycle
        moves.append(FillMove(trade_id=name, at_ms=now_ms, reservation_id="", used_delta=used_delta))
        if grid is not None and grid.has(cell):
            used = cell.cycle + int(cell.state is CellState.HOLDING)  # the cycle of the lot's buy
            nothing = {"qty": ZERO, "basis": ZERO, "earned": ZERO, "state": CellState.IDLE, "cycle": used}
            empty = cell.model_copy(update=nothing | {"retry_ms": 0, "refusals": 0, "refusal": None})
            folded.cells[cell.key] = empty
            changes.append(_put(keys, symbol, empty))
        else:
            changes.append(Write(key=keys.cells(symbol), verb="HDEL", field=cell.key))
            del folded.cells[cell.key]
        target = merged
    if target.state is CellState.IDLE and has_lot(target, market):
        target = target.model_copy(update={"state": CellState.HOLDING})
    folded.cells[target.key] = target
    changes.append(_put(keys, symbol, target))
    return BaseMoved(moves, changes)


def _put(keys: Keys, symbol: str, cell: Cell) -> Write:
    return Write(key=keys.cells(symbol), verb="HSET", field=cell.key, value=cell.model_dump_json())
