"""Booking base that went missing, or that came back, in a symbol's cells. Pure.

Missing base leaves the cells in the order in which they pay fees (`tasks.tick.payers`). What a resting sell needs
is locked on the exchange, so it cannot be missing. Base that came back goes to one cell: of the grid in force, without
an order, and with the nearest sell price above the market's price where there is one.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from tasks.base.errors import Problem
from tasks.base.keys import Keys
from tasks.base.money import ZERO, exact, plain
from tasks.exchange.models import Market
from tasks.funds.models import FillMove, Write
from tasks.grid.cells import has_lot, lightened
from tasks.grid.models import Cell, CellState
from tasks.ledger.base_guard import BaseCorrection, CorrectionKind, coin_of
from tasks.ledger.missing import book_missing, book_returned
from tasks.ledger.models import Book, Fill
from tasks.tick.fold import Folded
from tasks.tick.payers import payers


class Booked(NamedTuple):
    """The corrections that are settled, booked or not, and the fills that book them."""

    settled: Sequence[BaseCorrection]
    fills: Sequence[Fill]


NOTHING = Booked((), ())


def book_corrections(
    folded: Folded,
    corrections: Iterable[BaseCorrection],
    grid_ids: Collection[str],
    price: Decimal,
    market: Market,
    now_ms: int,
) -> Booked:
    """Book each correction once, after the fills. Changes `folded`.

    Missing base that is not proven any more, because an order is in doubt or a fee waits, is left to the next
    comparison. Base that
    came back waits for a tick with a cell to put it into.
    """
    settled: list[BaseCorrection] = []
    before = len(folded.fills)
    for one in sorted(corrections, key=lambda each: (each.at_ms, each.id)):
        if one.kind is CorrectionKind.MISSING:
            if not folded.fees_waiting and not any(intent.is_doubtful for intent in folded.intents.values()):
                _take(folded, one, market, now_ms)
            settled.append(one)
        elif folded.cells:
            _give(folded, one, grid_ids, price, market, now_ms)
            settled.append(one)
    return Booked(settled, folded.fills[before:])


def settled_writes(booked: Booked, symbol: str, keys: Keys) -> list[Write]:
    """The writes that delete the corrections that are settled."""
    return [Write(key=keys.corrections(symbol), verb="HDEL", field=one.kind.value) for one in booked.settled]


def return_problem(book: Book, qty: Decimal, surplus: Decimal, returned_lately: Sequence[Decimal]) -> Problem | None:
    """Why `qty` base cannot be put back into the books; None where it can.

    `surplus`: what the account holds more than the cells. `returned_lately`: amounts that were put back a short time
    ago; the same one again is taken for an entry made twice.
    """
    coin = coin_of(book.symbol)
    given, most = f"{plain(qty)} {coin}", f"{plain(book.missing_base)} {coin}"
    if book.missing_base <= 0:
        return Problem("amount", given, f"no {coin} is missing in the books", "More on the account is your own")
    if qty > book.missing_base:
        return Problem("amount", given, f"only {most} is missing in the books", f"Give {most} at most")
    if qty > surplus:
        more = f"the account holds {plain(max(surplus, ZERO))} {coin} more than the cells"
        return Problem("amount", given, more, f"Deposit {coin} first, or give less")
    if qty in returned_lately:
        remedy = "If it came back a second time, give the option --again"
        return Problem("amount", given, "the same amount was returned a short time ago", remedy)
    return None


def _take(folded: Folded, correction: BaseCorrection, market: Market, now_ms: int) -> None:
    with exact():
        held = sum((cell.qty for cell in folded.cells.values()), ZERO)
        missing = correction.still_missing(held, folded.book.received)
    for payer in payers(folded):
        qty = min(payer.free, missing)
        if qty <= 0:
            return
        before, name = folded.cells[payer.key], f"{correction.id}:{payer.key}"
        folded.book, after, fill = book_missing(folded.book, before, qty, now_ms, name)
        _put(folded, before, lightened(after, market), fill)
        with exact():
            missing -= qty


def _give(
    folded: Folded, correction: BaseCorrection, grid_ids: Collection[str], price: Decimal, market: Market, now_ms: int
) -> None:
    qty = min(correction.qty, folded.book.missing_base)
    if qty <= 0:
        return
    before = min(folded.cells.values(), key=lambda cell: _distance(cell, grid_ids, price))
    folded.book, after, fill = book_returned(folded.book, before, qty, now_ms, f"{correction.id}:{before.key}")
    if after.state is CellState.IDLE and has_lot(after, market):
        after = after.model_copy(update={"state": CellState.HOLDING})
    _put(folded, before, after, fill)


def _distance(cell: Cell, grid_ids: Collection[str], price: Decimal) -> tuple[bool, bool, bool, Decimal, str]:
    above = cell.sell_price > price
    return cell.grid_id not in grid_ids, cell.order_id is not None, not above, abs(cell.sell_price - price), cell.key


def _put(folded: Folded, before: Cell, after: Cell, fill: Fill) -> None:
    folded.cells[after.key] = after
    folded.touched.add(after.key)
    folded.fills.append(fill)
    move = FillMove(
        trade_id=fill.trade_id,
        at_ms=fill.at_ms,
        reservation_id="",
        used_delta=after.used_units - before.used_units,
    )
    folded.moves.append(move)
