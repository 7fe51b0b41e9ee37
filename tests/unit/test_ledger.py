"""Grid profit + floating PnL = equity change, exactly, whatever is traded and however fees are paid."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.money import ZERO
from tasks.exchange.models import Side
from tasks.grid.models import Cell
from tasks.ledger.booking import book_fill, fee_elsewhere, value_fee
from tasks.ledger.models import Book
from tasks.ledger.rules import unvalued_fees, value
from tests.support.grids import BTC, grid_and_cells, market
from tests.support.trades import trade

FEE_COINS = st.sampled_from(["USDT", "BTC", "BNB"])
QTY = st.decimals("0.00001", 5, places=5)
PRICE = st.decimals("0.01", 100_000, places=2)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[bool, Decimal, Decimal, str, Decimal]]:
    """(buy?, share or amount, price, fee coin, fee)."""
    step = st.tuples(st.booleans(), QTY, PRICE, FEE_COINS, st.decimals(0, "0.001", places=8))
    return draw(st.lists(step, max_size=40))


def play(steps: list[tuple[bool, Decimal, Decimal, str, Decimal]]) -> tuple[Book, Cell]:
    """Book a history on one cell; a sell takes at most what is held."""
    book, cell = Book(symbol=BTC), grid_and_cells()[1][0]
    for number, (buy, qty, price, coin, fee) in enumerate(steps):
        side = Side.BUY if buy else Side.SELL
        amount = qty if buy else min(qty, cell.qty)
        if amount <= fee:
            continue
        if not buy and coin == "BTC":
            amount -= fee
        one = trade(number, side, amount, price, coin, fee)
        book, cell, _ = book_fill(book, cell, one, "id", market(), Decimal("312.5"))
    return book, cell


@given(histories(), PRICE)
@settings(max_examples=300)
def test_the_identity_holds_exactly(steps: list[tuple[bool, Decimal, Decimal, str, Decimal]], price: Decimal) -> None:
    """At any price, with partial sells and fees in quote, base or a third coin: the error is 0, not small."""
    book, cell = play(steps)
    worth = value(book, price)
    assert worth.identity_error == 0
    assert worth.equity_change == worth.grid_profit + worth.floating
    assert (book.base, book.basis) == (cell.qty, cell.basis)


@given(histories(), PRICE)
def test_used_returns_to_exactly_zero(steps: list[tuple[bool, Decimal, Decimal, str, Decimal]], price: Decimal) -> None:
    """Selling all that is held frees every unit, whatever the profit and the roundings before."""
    book, cell = play(steps)
    if cell.qty > 0:
        book, cell, _ = book_fill(
            book, cell, trade(999, Side.SELL, cell.qty, price, "USDT", Decimal(0)), "id", market()
        )
    assert cell.qty == 0
    assert cell.basis == 0
    assert cell.used_units == 0
    assert book.basis == 0


def test_a_round_trip_by_hand() -> None:
    """Buy 0.01 at 40000 (fee 0.4), sell at 41000 (fee 0.41): profit 9.19."""
    book, cell = Book(symbol=BTC), grid_and_cells()[1][1]
    qty = Decimal("0.01")
    book, cell, bought = book_fill(
        book, cell, trade(1, Side.BUY, qty, Decimal(40000), "USDT", Decimal("0.4")), "b", market()
    )
    assert (bought.basis, cell.basis, book.cash) == (Decimal("400.4"), Decimal("400.4"), Decimal("-400.4"))
    book, cell, sold = book_fill(
        book, cell, trade(2, Side.SELL, qty, Decimal(41000), "USDT", Decimal("0.41")), "s", market()
    )
    assert sold.profit == Decimal("9.19")
    assert book.grid_profit == book.cash == Decimal("9.19")
    assert book.fees == Decimal("0.81")


def test_a_base_fee_takes_nothing_that_later_trades_of_the_order_sell() -> None:
    """A cell of 0.0101 sells 0.01 in two trades, each with a fee of 0.0001 base: one fee is the cell's, one is not."""
    cell = grid_and_cells()[1][1].model_copy(update={"qty": Decimal("0.0101"), "basis": Decimal(404)})
    book, half, fee = Book(symbol=BTC, base=cell.qty, basis=cell.basis), Decimal("0.005"), Decimal("0.0001")
    queued = Decimal(0)
    for number, needed in ((1, half), (2, Decimal(0))):
        one = trade(number, Side.SELL, half, Decimal(41000), "BTC", fee)
        queued += fee_elsewhere(cell, one, market(), needed)
        book, cell, _ = book_fill(book, cell, one, "s", market(), needed=needed)
        assert cell.qty == book.base
    assert cell.qty == 0
    assert queued == fee


def test_a_third_coin_fee_without_a_price_is_booked_and_valued_later() -> None:
    """Its amount is booked at once. Its worth lowers grid profit once, by trade id, when the price is known."""
    one = trade(1, Side.BUY, Decimal("0.01"), Decimal(40000), "BNB", Decimal("0.001"))
    book, cell, fill = book_fill(Book(symbol=BTC), grid_and_cells()[1][0], one, "b", market())
    assert (cell.basis, fill.fee, fill.fee_quote) == (Decimal(400), Decimal("0.001"), ZERO)
    assert (book.other_fees, book.other_value) == ({"BNB": Decimal("0.001")}, ZERO)
    assert unvalued_fees([book]) == {"BNB": Decimal("0.001")}
    assert value(book, Decimal(41000)).identity_error == 0
    book = value_fee(book, "1", Decimal("0.3125"))
    assert (book.other_value, book.grid_profit, book.fees) == (Decimal("0.3125"), Decimal("-0.3125"), Decimal("0.3125"))
    assert unvalued_fees([book]) == {}
    assert value(book, Decimal(41000)).identity_error == 0
    with pytest.raises(KeyError):
        value_fee(book, "1", Decimal("0.3125"))


def test_a_base_fee_beyond_the_cell_is_paid_elsewhere() -> None:
    """A cell sells all it holds and the fee comes in base: the cell ends at 0, the fee is not its base."""
    book, cell = Book(symbol=BTC), grid_and_cells()[1][0]
    qty, low, high = Decimal("0.01"), Decimal(40000), Decimal(41000)
    book, cell, _ = book_fill(book, cell, trade(1, Side.BUY, qty, low, "USDT", Decimal(0)), "b", market())
    sale = trade(2, Side.SELL, qty, high, "BTC", Decimal("0.00001"))
    assert fee_elsewhere(cell, sale, market()) == Decimal("0.00001")
    book, cell, sold = book_fill(book, cell, sale, "s", market())
    assert (cell.qty, book.base, book.other_fees) == (ZERO, ZERO, {"BTC": Decimal("0.00001")})
    assert (book.other_value, sold.profit) == (Decimal("0.41"), Decimal("9.59"))
    assert value(book, high).identity_error == 0


@given(histories(), st.integers(0, 40))
@settings(max_examples=100)
def test_the_running_sum_is_the_cost_of_inventory(
    steps: list[tuple[bool, Decimal, Decimal, str, Decimal]], kept: int
) -> None:
    """Of all fills, in the book and in the newest fill; an older book without it goes on from its present cost."""
    book, _ = play(steps)
    assert book.filled_basis == (book.basis if book.buys else None)
    old = Book.model_validate_json(play(steps[:kept])[0].model_dump_json(exclude={"filled_basis"}))
    one = trade(1, Side.BUY, Decimal(1), Decimal(100), "USDT", Decimal("0.1"))
    book, _, fill = book_fill(old, grid_and_cells()[1][0], one, "id", market())
    assert book.filled_basis == fill.filled_basis == book.basis == old.basis + Decimal("100.1")
