"""What a book is worth, and sums over books. Pure, exact Decimal."""

from collections.abc import Iterable
from decimal import Decimal

from tasks.base.money import ZERO, exact
from tasks.base.unchecked import unchecked
from tasks.grid.models import Cell
from tasks.ledger.models import HOUR_MS, HOURS_KEPT, Book, Valuation


def return_72h(book: Book, now_ms: int) -> Decimal:
    """What sells earned in the last 72 hours per quote allocated when they did."""
    oldest = now_ms // HOUR_MS - HOURS_KEPT
    return sum((one for hour, one in book.hourly_returns.items() if hour > oldest), ZERO)


def unvalued_fees(books: Iterable[Book]) -> dict[str, Decimal]:
    """Fees whose worth is not booked yet: coin → amount."""
    found: dict[str, Decimal] = {}
    for fee in (fee for book in books for fee in book.unvalued.values()):
        found[fee.coin] = total([found.get(fee.coin, ZERO), fee.amount])
    return dict(sorted(found.items()))


def value(book: Book, price: Decimal) -> Valuation:
    """The book at `price` (quote per base)."""
    with exact():
        change, inventory = worth(book, price)
        floating = inventory - book.basis
        return unchecked(
            Valuation,
            equity_change=change,
            grid_profit=book.grid_profit,
            floating=floating,
            missing=book.missing,
            inventory_value=inventory,
            identity_error=change - book.grid_profit - floating + book.missing,
        )


def worth(book: Book, price: Decimal) -> tuple[Decimal, Decimal]:
    """The change of equity, and what the inventory is worth, at `price`, in quote. Call it in `exact()`."""
    inventory = book.base * price
    return book.cash - book.other_value + inventory, inventory


def realised_of(books: Iterable[Book]) -> Decimal:
    """Realised profit of these books, in quote: grid profit less missing."""
    return total(amount for book in books for amount in (book.grid_profit, -book.missing))


def earned_of(cells: Iterable[Cell]) -> Decimal:
    """Base of these cells that cost nothing: what their rounds earned in base."""
    return total(cell.earned for cell in cells)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Exact sum."""
    with exact():
        return sum(amounts, ZERO)
