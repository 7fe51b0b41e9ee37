"""Base that leaves the cells without a sell, or comes back to them: booked at cost, on a line of its own. Pure.

The book's `missing` is the cost of what left, less the cost of what came back: equity change = grid profit + floating
− missing. No cash moves and no profit is made.
"""

from decimal import Decimal

from tasks.base.money import ZERO, exact, floor_to
from tasks.exchange.models import Side
from tasks.grid.models import Cell
from tasks.ledger.booking import running_sum
from tasks.ledger.costs import BASIS_STEP, freed_basis, left_after
from tasks.ledger.models import Book, Fill


def book_missing(book: Book, cell: Cell, qty: Decimal, at_ms: int, trade_id: str) -> tuple[Book, Cell, Fill]:
    """Take `qty` base, at most what the cell holds, out of it, with its share of the cost."""
    with exact():
        cost = freed_basis(cell, qty)
        changes = {
            "base": book.base - qty,
            "basis": book.basis - cost,
            "missing": book.missing + cost,
            "filled_basis": running_sum(book, Side.SELL, cost),
            "missing_base": book.missing_base + qty,
            "sells": book.sells + 1,
        }
        left = cell.model_copy(update=left_after(cell, qty, cost))
        return book.model_copy(update=changes), left, _fill(book, cell, Side.SELL, qty, cost, at_ms, trade_id)


def book_returned(book: Book, cell: Cell, qty: Decimal, at_ms: int, trade_id: str) -> tuple[Book, Cell, Fill]:
    """Put `qty` base, at most `book.missing_base`, into the cell, at the average cost of what is missing."""
    with exact():
        everything = qty >= book.missing_base
        cost = book.missing if everything else floor_to(book.missing * qty / book.missing_base, BASIS_STEP)
        changes = {
            "base": book.base + qty,
            "received": book.received + qty,
            "basis": book.basis + cost,
            "missing": book.missing - cost,
            "filled_basis": running_sum(book, Side.BUY, cost),
            "missing_base": book.missing_base - qty,
            "buys": book.buys + 1,
        }
        earned = cell.earned if cost else cell.earned + qty
        more = cell.model_copy(update={"qty": cell.qty + qty, "basis": cell.basis + cost, "earned": earned})
        return book.model_copy(update=changes), more, _fill(book, cell, Side.BUY, qty, cost, at_ms, trade_id)


def _fill(book: Book, cell: Cell, side: Side, qty: Decimal, cost: Decimal, at_ms: int, trade_id: str) -> Fill:
    """The record, so that the fills still add up to the book: at price 0, without an order."""
    return Fill(
        trade_id=trade_id,
        client_id="",
        symbol=book.symbol,
        cell_key=cell.key,
        side=side,
        price=ZERO,
        qty=qty,
        quote=ZERO,
        fee=ZERO,
        fee_currency="",
        fee_quote=ZERO,
        maker=False,
        at_ms=at_ms,
        basis=cost,
        profit=ZERO,
        filled_basis=running_sum(book, side, cost),
    )
