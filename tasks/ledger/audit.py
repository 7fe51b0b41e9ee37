"""Audit of the pot: compares it with what journal, cells and fills add up to. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Frozen, Order
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.funds.models import FundsStatus, Repair
from tasks.grid.models import Cell
from tasks.ledger.base_guard import Shortage
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import total
from tasks.orders.models import Intent


class Cause(StrEnum):
    """What is wrong with the money; REPAIRABLE lists those that a repair corrects."""

    LEAKED_RESERVATION = "a reservation without a journalled order"
    MISSING_RESERVATION = "a journalled order without its reservation"
    WRONG_RESERVATION = "a reservation that holds another amount than its order still needs"
    RESERVED_SUM = "the symbol's reserved money is not the sum of its reservations"
    USED_SUM = "the symbol's used money is not the cost of its inventory"
    POT_USED = "the pot's used money is not the sum of the symbols"
    POT_RESERVED = "the pot's reserved money is not the sum of the symbols"
    BOOK = "the ledger's cost of inventory is not the sum of the cells"
    FILLS = "the fills booked do not add up to the ledger's cost of inventory"
    ORPHAN_ORDER = "an order of ours rests on the exchange without a journal entry"
    BASE_SHORT = "the exchange holds less of a coin than the cells"
    UNLISTED = "the exchange does not list the symbol: its orders and its base were not compared"
    LOST_ORDER = "a journalled order no longer rests on the exchange; the next tick settles it"


REPAIRABLE = frozenset(
    {
        Cause.LEAKED_RESERVATION,
        Cause.MISSING_RESERVATION,
        Cause.WRONG_RESERVATION,
        Cause.RESERVED_SUM,
        Cause.USED_SUM,
        Cause.POT_USED,
        Cause.POT_RESERVED,
    }
)
# No errors of the books: normal between a fill and the next tick, and a symbol that was delisted.
_NO_DRIFT = frozenset({Cause.LOST_ORDER, Cause.UNLISTED})


class Difference(Frozen):
    """One finding; amounts in quote, of BASE_SHORT in the coin. `subject`: a symbol, an order id, a coin, or `pot`."""

    subject: str
    cause: Cause
    found: Decimal
    expected: Decimal

    @property
    def is_drift(self) -> bool:
        """Whether it is an error."""
        return self.cause not in _NO_DRIFT


class SymbolSnapshot(Frozen):
    """One symbol's records in Redis at one moment. `open_orders`: on the exchange just before; None where not read.

    `newest`: the fill booked last.
    """

    symbol: str
    used_units: int
    reserved_units: int
    reservations: Mapping[str, int]
    cells: tuple[Cell, ...]
    intents: Mapping[str, Intent]
    book: Book
    newest: Fill | None
    digest: str
    open_orders: tuple[Order, ...] | None = None


class AuditReport(Frozen):
    """Every difference, and the repair that corrects the money."""

    differences: tuple[Difference, ...]
    repairs: tuple[Repair, ...]

    @property
    def drift(self) -> tuple[Difference, ...]:
        """The differences that are errors."""
        return tuple(one for one in self.differences if one.is_drift)


def digest_of(cells: Sequence[str], intents: Sequence[str]) -> str:
    """SHA-1 of the raw fields and values, as repair.lua computes it. It detects changes; it is no protection."""
    return hashlib.sha1("\n".join([*cells, *intents]).encode(), usedforsecurity=False).hexdigest()


def audit_symbol(symbol: SymbolSnapshot, account: str) -> list[Difference]:
    """Recompute a symbol's committed money from intents, cells, fills and open orders, and name each difference."""
    return [*_reservations(symbol), *_sums(symbol), *_books(symbol), *_orders(symbol, account_tag(account))]


def audit_pot(funds: FundsStatus) -> list[Difference]:
    """Compare the pot with the sums of its symbols. `funds`: of all symbols, read at one moment."""
    used = sum(share.used_units for share in funds.symbols.values())
    reserved = sum(share.reserved_units for share in funds.symbols.values())
    return [
        *_unequal("pot", Cause.POT_USED, funds.used_units, used),
        *_unequal("pot", Cause.POT_RESERVED, funds.reserved_units, reserved),
    ]


def audit_base(short: Iterable[Shortage], unlisted: Iterable[str]) -> list[Difference]:
    """Coins of which the exchange holds too little, and symbols that it does not list."""
    return [
        *(Difference(subject=one.coin, cause=Cause.BASE_SHORT, found=one.account, expected=one.held) for one in short),
        *(Difference(subject=symbol, cause=Cause.UNLISTED, found=ZERO, expected=ZERO) for symbol in unlisted),
    ]


def still_there(first: AuditReport, second: AuditReport) -> AuditReport:
    """The second report without the errors that the first did not have: an order was just placed or cancelled."""
    known = {(one.subject, one.cause) for one in first.differences}
    found = [one for one in second.differences if not one.is_drift or (one.subject, one.cause) in known]
    return second.model_copy(update={"differences": tuple(found)})


def repair_of(symbol: SymbolSnapshot) -> Repair:
    """What corrects the symbol's money."""
    return Repair(
        symbol=symbol.symbol,
        digest=symbol.digest,
        used_units=_inventory_units(symbol),
        reservations={name: intent.units_left for name, intent in symbol.intents.items()},
    )


def _unequal(subject: str, cause: Cause, found: int, expected: int) -> list[Difference]:
    return _unlike(subject, cause, from_units(found), from_units(expected))


def _inventory_units(symbol: SymbolSnapshot) -> int:
    return sum(cell.used_units for cell in symbol.cells)


def _reservations(symbol: SymbolSnapshot) -> list[Difference]:
    found: list[Difference] = []
    for name in sorted({*symbol.reservations, *symbol.intents}):
        held, intent = symbol.reservations.get(name), symbol.intents.get(name)
        if intent is None:
            found += [
                Difference(subject=name, cause=Cause.LEAKED_RESERVATION, found=from_units(held or 0), expected=ZERO)
            ]
        elif held is None:
            missing = from_units(intent.units_left)
            found += [Difference(subject=name, cause=Cause.MISSING_RESERVATION, found=ZERO, expected=missing)]
        else:
            found += _unequal(name, Cause.WRONG_RESERVATION, held, intent.units_left)
    return found


def _sums(symbol: SymbolSnapshot) -> list[Difference]:
    reserved = sum(symbol.reservations.values())
    return [
        *_unequal(symbol.symbol, Cause.RESERVED_SUM, symbol.reserved_units, reserved),
        *_unequal(symbol.symbol, Cause.USED_SUM, symbol.used_units, _inventory_units(symbol)),
    ]


def _books(symbol: SymbolSnapshot) -> list[Difference]:
    book, newest = symbol.book, symbol.newest
    found = _unlike(symbol.symbol, Cause.BOOK, book.basis, total(cell.basis for cell in symbol.cells))
    if book.filled_basis is not None:
        found += _unlike(symbol.symbol, Cause.FILLS, book.basis, book.filled_basis - book.fee_basis)
        listed = newest.filled_basis if newest is not None else None
        found += _unlike(symbol.symbol, Cause.FILLS, book.filled_basis, ZERO if listed is None else listed)
    return found


def _unlike(subject: str, cause: Cause, found: Decimal, expected: Decimal) -> list[Difference]:
    return [] if found == expected else [Difference(subject=subject, cause=cause, found=found, expected=expected)]


def _orders(symbol: SymbolSnapshot, tag: str) -> list[Difference]:
    if symbol.open_orders is None:
        return []
    resting = {order.client_id: order for order in symbol.open_orders}
    orphans = [
        Difference(subject=name, cause=Cause.ORPHAN_ORDER, found=order.price * order.qty, expected=ZERO)
        for name, order in sorted(resting.items())
        if name not in symbol.intents and (order_id := parse_order_id(name)) is not None and order_id.account == tag
    ]
    lost = [
        Difference(subject=name, cause=Cause.LOST_ORDER, found=ZERO, expected=intent.price * intent.qty)
        for name, intent in sorted(symbol.intents.items())
        if name not in resting
    ]
    return orphans + lost
