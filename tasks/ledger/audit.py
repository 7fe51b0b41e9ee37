"""Audit of the pot: compares it with what journal, cells and fills add up to. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Frozen, Order, Side
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.funds.models import Repair
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
    """One symbol's records in Redis at one moment. `open_orders`: on the exchange just before; None where not read."""

    symbol: str
    used_units: int
    reserved_units: int
    reservations: Mapping[str, int]
    cells: tuple[Cell, ...]
    intents: Mapping[str, Intent]
    book: Book
    fills: tuple[Fill, ...] | None  # None where the capped list has lost fills
    digest: str
    open_orders: tuple[Order, ...] | None = None


class FundsSnapshot(Frozen):
    """The pot and all its symbols at one moment."""

    account: str
    used_units: int
    reserved_units: int
    symbols: tuple[SymbolSnapshot, ...]
    shortages: tuple[Shortage, ...] = ()
    unlisted: tuple[str, ...] = ()  # symbols that the exchange does not list


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


def audit(snapshot: FundsSnapshot) -> AuditReport:
    """Recompute committed money from intents, cells, fills and open orders, and name each difference."""
    found: list[Difference] = []
    for symbol in snapshot.symbols:
        found += _reservations(symbol)
        found += _sums(symbol)
        found += _books(symbol)
        found += _orders(symbol, account_tag(snapshot.account))
    used = sum(symbol.used_units for symbol in snapshot.symbols)
    reserved = sum(symbol.reserved_units for symbol in snapshot.symbols)
    found += _unequal("pot", Cause.POT_USED, snapshot.used_units, used)
    found += _unequal("pot", Cause.POT_RESERVED, snapshot.reserved_units, reserved)
    found += [
        Difference(subject=one.coin, cause=Cause.BASE_SHORT, found=one.account, expected=one.held)
        for one in snapshot.shortages
    ]
    found += [
        Difference(subject=symbol, cause=Cause.UNLISTED, found=ZERO, expected=ZERO) for symbol in snapshot.unlisted
    ]
    repairs = tuple(
        Repair(
            symbol=symbol.symbol,
            digest=symbol.digest,
            used_units=_inventory_units(symbol),
            reservations={name: intent.units_left for name, intent in symbol.intents.items()},
        )
        for symbol in snapshot.symbols
    )
    return AuditReport(differences=tuple(found), repairs=repairs)


def _unequal(subject: str, cause: Cause, found: int, expected: int) -> list[Difference]:
    if found == expected:
        return []
    return [Difference(subject=subject, cause=cause, found=from_units(found), expected=from_units(expected))]


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
    found = []
    basis = total(cell.basis for cell in symbol.cells)
    if symbol.book.basis != basis:
        found.append(Difference(subject=symbol.symbol, cause=Cause.BOOK, found=symbol.book.basis, expected=basis))
    if symbol.fills is not None:
        traded = (fill.basis if fill.side is Side.BUY else -fill.basis for fill in symbol.fills)
        from_fills = total([*traded, -symbol.book.fee_basis])
        if from_fills != symbol.book.basis:
            found.append(
                Difference(subject=symbol.symbol, cause=Cause.FILLS, found=symbol.book.basis, expected=from_fills)
            )
    return found


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
