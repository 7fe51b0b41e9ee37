"""Cells that give up base for something else than their own order: fees, missing base, sells of too much. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol

from tasks.base.money import ZERO
from tasks.exchange.models import Market, Side
from tasks.grid.cells import lightened
from tasks.grid.models import Cell, CellState
from tasks.ledger.booking import sell_beyond, with_own_base
from tasks.ledger.models import Book, Fill
from tasks.orders.models import Intent


class Records(Protocol):
    """A symbol's records that are being changed."""

    book: Book
    cells: dict[str, Cell]
    intents: dict[str, Intent]


class Payer(NamedTuple):
    """Base that a cell can give up now."""

    key: str
    free: Decimal


def payers(records: Records) -> list[Payer]:
    """Cells that can give up base now, in the order in which they do.

    Cells without an order first: remainders, then the highest sell price; then base that no open order sells.
    """
    cells = sorted(records.cells.values(), key=_order)
    return [Payer(cell.key, free) for cell in cells if (free := cell.qty - in_sell(records.intents, cell)) > 0]


def _order(cell: Cell) -> tuple[bool, bool, Decimal, str]:
    return cell.order_id is not None, cell.state is CellState.HOLDING, -cell.sell_price, cell.key


def in_sell(intents: Mapping[str, Intent], cell: Cell) -> Decimal:
    """Base that the cell's open sell still locks."""
    if cell.order_id is None:
        return ZERO
    intent = intents.get(cell.order_id)
    if intent is None:
        return cell.qty
    return min(intent.qty - intent.filled, cell.qty) if intent.side is Side.SELL else ZERO


def cover(records: Records, fill: Fill, excess: Decimal, market: Market) -> tuple[Fill, list[str], Decimal]:
    """Take what a sell sold beyond its own cell from the other cells. Changes `records`.

    Returns the fill, the keys of the cells that gave, and what no cell holds: that was the owner's own base. Somebody
    enlarged the order by hand, or it sold the lot of a cell a second time. As with a fee, remainders give first; base
    that open sells lock comes last.
    """
    touched: list[str] = []
    own = fill.cell_key
    for payer in [*payers(records), *_locked(records)]:
        part = min(payer.free, excess, records.cells[payer.key].qty)
        if part <= 0 or payer.key == own:
            continue
        sold = sell_beyond(records.book, records.cells[payer.key], records.cells[own], fill, part)
        records.book, fill, excess = sold.book, sold.fill, excess - part
        records.cells |= {payer.key: lightened(sold.giver, market), own: sold.seller}
        touched.append(payer.key)
    records.book = with_own_base(records.book, excess)
    return fill, touched, excess


def _locked(records: Records) -> Iterator[Payer]:
    for cell in sorted(records.cells.values(), key=_order):
        if cell.order_id is not None:
            yield Payer(cell.key, cell.qty)
