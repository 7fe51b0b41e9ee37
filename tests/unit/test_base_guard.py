"""The base guard's rules: what is missing, which cells lose it, and that the books stay exact."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.errors import RejectReason
from tasks.base.money import ZERO, exact
from tasks.exchange.models import Balance, Order, OrderStatus, Side
from tasks.grid.models import Cell, CellState
from tasks.ledger.base_guard import (
    MIN_APART_MS,
    BaseCorrection,
    BaseEvent,
    BaseWatch,
    CorrectionKind,
    Holding,
    Verdict,
    compare,
    must_have_ticked,
    shortages,
)
from tasks.ledger.booking import book_fill
from tasks.ledger.missing import book_missing, book_returned
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.orders.models import Intent, IntentState
from tasks.tick.corrections import book_corrections
from tasks.tick.fold import Folded
from tests.support.grids import BTC, market
from tests.support.trades import trade

MINUTE = MIN_APART_MS
START = 1_000_000


def holding(held: str, **changes: Any) -> Holding:
    """The books of BTC."""
    return Holding(symbol=BTC, held=Decimal(held), **changes)


def balance(free: str, locked: str = "0") -> Balance:
    """The account's base."""
    return Balance(free=Decimal(free), locked=Decimal(locked))


def first(held: str = "1", account: str = "0.6", **changes: Any) -> Verdict:
    """The first comparison."""
    own = holding(held, **changes)
    return compare("BTC", None, own, balance(account), {BTC: own}, START)


def second(
    before: BaseWatch, own: Holding, account: Balance, at_ms: int = START + MINUTE, **others: Holding
) -> Verdict:
    """The next comparison, of an account with only this symbol or with others."""
    return compare("BTC", before, own, account, {BTC: own, **others}, at_ms)


TICKED = {"ticked_ms": START + 30_000}


def test_two_comparisons_find_what_is_missing() -> None:
    """The first one only notes it; the second, a minute later and after a tick, proves it."""
    verdict = first()
    assert verdict.event is None
    assert verdict.missing == verdict.watch.short == 0
    verdict = second(verdict.watch, holding("1", **TICKED), balance("0.6"))
    assert (verdict.event, verdict.missing) == (BaseEvent.SHORT, Decimal("0.4"))
    verdict = second(verdict.watch, holding("0.6", **TICKED), balance("0.6"), START + 2 * MINUTE)
    assert (verdict.event, verdict.watch.since) == (BaseEvent.RESTORED, None)
    assert verdict.missing == 0


@pytest.mark.parametrize(
    ("own", "account", "at_ms", "others"),
    [
        (holding("1", **TICKED), balance("0.6"), START + MINUTE - 1, {}),
        (holding("1", ticked_ms=START + 1_000), balance("0.6"), START + MINUTE, {}),
        (holding("1", fee_waits=True, **TICKED), balance("0.6"), START + MINUTE, {}),
        (holding("1", doubtful_ms=START - 1, orders=1, **TICKED), balance("0.6"), START + MINUTE, {}),
        (holding("1", sells={"x": Decimal("0.5")}, orders=1, **TICKED), balance("0.2", "0.4"), START + MINUTE, {}),
        (holding("1", **TICKED), balance("0.6"), START + MINUTE, {"ETH/USDT": Holding(symbol="ETH/USDT", ticked_ms=9)}),
        (holding("0.6", **TICKED), balance("0.6"), START + MINUTE, {}),
        (holding("1", received=Decimal("0.4"), **TICKED), balance("0.6"), START + MINUTE, {}),
    ],
    ids=["too early", "no tick", "fee", "doubt", "a sell ended unseen", "another symbol", "nothing short", "bought"],
)
def test_what_proves_nothing(own: Holding, account: Balance, at_ms: int, others: Mapping[str, Holding]) -> None:
    """Each of these may explain the difference, or means that something is still to be booked."""
    assert second(first().watch, own, account, at_ms, **others).missing == 0


def test_younger_doubts_and_later_fills_do_not_hide_it() -> None:
    """An order sent after the first comparison cannot have sold before it; what was sold and bought since is known."""
    own = holding("1.1", doubtful_ms=START + 40_000, received=Decimal("0.3"), **TICKED)  # +0.3 bought, 0.2 sold
    assert second(first().watch, own, balance("0.7")).missing == Decimal("0.2")  # of 0.4: 0.2 may have been that sale


def test_a_symbol_that_cannot_tick_is_not_waited_for() -> None:
    """One that the exchange no longer lists, and one that never traded."""
    known = {name: Holding(symbol=name, ticked_ms=1) for name in ("A/USDT", "B/USDT")}
    new = {"C/USDT": Holding(symbol="C/USDT")}
    assert set(must_have_ticked(known | new, {"B/USDT"})) == {"A/USDT"}


def amounts(count: int) -> st.SearchStrategy[list[Decimal]]:
    """Amounts of base."""
    return st.lists(st.decimals(0, 2, places=4), min_size=count, max_size=count)


@given(amounts(6), amounts(6), amounts(6), amounts(3))
@settings(max_examples=300)
def test_it_never_takes_what_is_there(
    buys: list[Decimal], sales: list[Decimal], seen: list[Decimal], withdrawn: list[Decimal]
) -> None:
    """Buys, sells and withdrawals in any order, booked late: what is proven is at most what was withdrawn.

    Three phases: before the first comparison, between both, and before the tick that books. Each sale and buy is
    booked in its phase or in the next one; all of an earlier phase are.
    """
    with exact():
        account = book = received = Decimal(20)
        taken = ZERO
        late: list[tuple[Decimal, Decimal]] = []
        watch, found = None, None
        for phase in range(3):
            for bought, sold in late:  # a tick has ended since
                book, received = book + bought - sold, received + bought
            late = []
            for number in (2 * phase, 2 * phase + 1):
                account += buys[number] - sales[number]
                if seen[number] > 1:
                    late.append((buys[number], sales[number]))
                else:
                    book, received = book + buys[number] - sales[number], received + buys[number]
            account -= withdrawn[phase]
            taken += withdrawn[phase]
            own = holding(str(max(book, ZERO)), received=received, ticked_ms=START + phase * MINUTE - 1)
            if phase < 2:
                verdict = compare("BTC", watch, own, balance(str(account)), {}, START + phase * MINUTE)
                watch = verdict.watch
                if verdict.missing:
                    found = (verdict, account, received, taken)
    if found is not None:
        verdict, on_account, at, so_far = found
        correction = missing(verdict.missing, on_account, at)
        for bought, sold in late:
            book, received = book + bought - sold, received + bought
        assert correction.still_missing(book, received) <= so_far


def missing(qty: Decimal, account: Decimal = ZERO, received: Decimal = ZERO) -> BaseCorrection:
    """What the guard found."""
    return BaseCorrection(
        id="missing:1", kind=CorrectionKind.MISSING, qty=qty, at_ms=1, account=account, received=received
    )


def returned(qty: str) -> BaseCorrection:
    """What an operator brings back."""
    return BaseCorrection(id="returned:1", kind=CorrectionKind.RETURNED, qty=Decimal(qty), at_ms=1)


def cell(index: int, state: CellState, qty: str, **changes: Any) -> Cell:
    """A cell that sells at 41000 + 100 × index, and whose base cost 40000."""
    fields: dict[str, Any] = {
        "key": f"g.{index}",
        "grid_id": "g",
        "index": index,
        "buy_price": Decimal(40_900 + 100 * index),
        "sell_price": Decimal(41_000 + 100 * index),
        "state": state,
        "qty": Decimal(qty),
        "basis": Decimal(qty) * 40_000,
        "order_id": f"o{index}" if state in (CellState.BUYING, CellState.SELLING) else None,
    }
    return Cell(**(fields | changes))


def intent(index: int, side: Side, qty: str, **changes: Any) -> Intent:
    """The order of a cell."""
    fields: dict[str, Any] = {
        "client_id": f"o{index}",
        "symbol": BTC,
        "cell_key": f"g.{index}",
        "side": side,
        "price": Decimal(41_000),
        "qty": Decimal(qty),
        "cycle": 0,
        "units": 0,
        "post_only": True,
        "created_ms": 0,
        "units_left": 0,
        "state": IntentState.OPEN,
    }
    return Intent(**(fields | changes))


CELLS = [
    cell(0, CellState.IDLE, "0.00001"),
    cell(1, CellState.HOLDING, "0.1"),
    cell(2, CellState.HOLDING, "0.2"),
    cell(3, CellState.HOLDING, "0.3", refusal=RejectReason.INSUFFICIENT_FUNDS),
    cell(4, CellState.SELLING, "0.5"),
    cell(5, CellState.BUYING, "0.05"),
]
INTENTS = {"o4": intent(4, Side.SELL, "0.4"), "o5": intent(5, Side.BUY, "0.2", filled=Decimal("0.05"))}


def folded(**changes: Any) -> Folded:
    """The cells above, and a book that says the same."""
    with exact():
        base, basis = sum((one.qty for one in CELLS), ZERO), sum((one.basis for one in CELLS), ZERO)
    book = Book(symbol=BTC, cash=-basis, base=base, basis=basis)
    fields: dict[str, Any] = {"book": book, "cells": {one.key: one for one in CELLS}, "intents": dict(INTENTS)}
    return Folded(**(fields | changes))


def test_the_order_in_which_cells_lose_base() -> None:
    """Remainders, lots from the top, then what orders do not sell: never what an order needs."""
    state = folded()
    booked = book_corrections(state, [missing(Decimal(5), Decimal(-5))], "g", Decimal(1), market(), 9)
    assert [(fill.cell_key, fill.qty) for fill in booked.fills] == [
        ("g.0", Decimal("0.00001")),
        ("g.3", Decimal("0.3")),
        ("g.2", Decimal("0.2")),
        ("g.1", Decimal("0.1")),
        ("g.5", Decimal("0.05")),
        ("g.4", Decimal("0.1")),
    ]
    assert state.cells["g.4"].qty == Decimal("0.4")


def test_missing_base_is_booked_at_cost() -> None:
    """Emptied cells buy again with a cycle of their own; a lot that is left stays; `used` falls by what it cost."""
    state = folded()
    booked = book_corrections(
        state, [missing(Decimal("0.35"), state.book.base - Decimal("0.35"))], "g", Decimal(1), market(), 9
    )
    assert [one.id for one in booked.settled] == ["missing:1"]
    assert (state.cells["g.3"].state, state.cells["g.3"].cycle, state.cells["g.3"].refusal) == (CellState.IDLE, 1, None)
    assert (state.cells["g.2"].state, state.cells["g.2"].cycle) == (CellState.HOLDING, 0)
    assert state.cells["g.2"].qty == Decimal("0.15001")
    assert state.book.missing == 14_000
    assert [move.used_delta for move in state.moves] == [-4 * 10**7, -12_000 * 10**8, -19_996 * 10**8 // 10]
    assert value(state.book, Decimal(43_210)).identity_error == 0


def test_what_was_sold_or_came_back_since_is_not_taken() -> None:
    """The tick that books knows more fills than the comparison did."""
    state = folded()
    found = missing(Decimal("0.35"), account=state.book.base)
    assert book_corrections(state, [found], "g", Decimal(1), market(), 9).fills == []
    doubtful = folded(intents=INTENTS | {"o9": intent(9, Side.BUY, "1", state=IntentState.UNKNOWN)})
    found = missing(Decimal("0.35"))
    booked = book_corrections(doubtful, [found], "g", Decimal(1), market(), 9)
    assert (booked.fills, booked.settled) == ([], [found])


def test_returned_base_is_sold_again() -> None:
    """It goes to the nearest cell above the price that has no order, at its cost; never more than is missing."""
    state = folded()
    book_corrections(state, [missing(Decimal("0.6"), state.book.base - Decimal("0.6"))], "g", Decimal(1), market(), 9)
    lost = state.book.missing
    booked = book_corrections(state, [returned("0.15")], "g", Decimal(41_050), market(), 10)
    (fill,) = booked.fills
    assert (fill.cell_key, fill.basis, state.cells["g.1"].state) == ("g.1", lost / 4, CellState.HOLDING)
    book_corrections(state, [returned("7")], "g", Decimal(41_050), market(), 11)
    assert state.book.missing == state.book.missing_base == 0
    assert state.book.base == sum(one.qty for one in CELLS)
    assert state.book.basis == sum(one.basis for one in CELLS)
    waiting = folded(cells={}, book=Book(symbol=BTC, missing=Decimal(1), missing_base=Decimal(1)))
    assert book_corrections(waiting, [returned("1")], "g", Decimal(1), market(), 12).settled == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "missing", "returned"]),
        st.decimals("0.00001", 5, places=5),
        st.decimals("0.01", 100_000, places=2),
        st.decimals(0, "0.001", places=8),
    ),
    max_size=40,
)


@given(STEPS, st.decimals("0.01", 100_000, places=2))
@settings(max_examples=300)
def test_the_identity_holds_with_missing_base(
    steps: list[tuple[str, Decimal, Decimal, Decimal]], price: Decimal
) -> None:
    """At any price and after any history: the error is 0, and the book is the cell's."""
    book, one = Book(symbol=BTC), cell(1, CellState.IDLE, "0")
    for number, (what, qty, at, fee) in enumerate(steps):
        if what == "buy":
            book, one, _ = book_fill(book, one, trade(number, Side.BUY, qty, at, "USDT", fee), "id", market())
        elif what == "sell" and one.qty:
            sold = min(qty, one.qty)
            book, one, _ = book_fill(book, one, trade(number, Side.SELL, sold, at, "USDT", fee), "id", market())
        elif what == "missing" and one.qty:
            book, one, _ = book_missing(book, one, min(qty, one.qty), number, str(number))
        elif what == "returned" and book.missing_base:
            book, one, _ = book_returned(book, one, min(qty, book.missing_base), number, str(number))
    worth = value(book, price)
    assert worth.identity_error == 0
    with exact():
        assert worth.equity_change == worth.grid_profit + worth.floating - worth.missing
    assert (book.base, book.basis) == (one.qty, one.basis)
    assert book.missing >= 0
    assert bool(book.missing_base) or book.missing == 0


def test_the_audit_counts_unbooked_sells() -> None:
    """A sell that no longer rests has sold its base, or freed it; what rests has sold what the exchange says."""
    own = holding("1", sells={"gone": Decimal("0.3"), "rests": Decimal("0.2")})
    rests = Order(
        exchange_id="1",
        client_id="rests",
        symbol=BTC,
        side=Side.SELL,
        price=Decimal(1),
        qty=Decimal("0.2"),
        filled=Decimal("0.05"),
        status=OrderStatus.OPEN,
        at_ms=1,
    )
    assert shortages([own], {"BTC": balance("0.65")}, {BTC: [rests]}) == ()
    (short,) = shortages([own], {"BTC": balance("0.5", "0.1")}, {BTC: [rests]})
    assert (short.held, short.account) == (Decimal("0.65"), Decimal("0.6"))
    assert shortages([own], {}, {BTC: None}) == ()
    waiting = own.model_copy(update={"fees": Decimal("0.05"), "fee_waits": True})
    assert shortages([waiting], {"BTC": balance("0.5", "0.1")}, {BTC: [rests]}) == ()
