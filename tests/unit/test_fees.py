"""Fees paid in a coin that a grid holds leave its cells, once, and the books stay exact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.grid.models import Cell, CellState
from tasks.ledger.models import Book, QueuedFee
from tasks.ledger.rules import total, unvalued_fees, value
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.tick.fees import pay_fees, summed, value_pending
from tasks.tick.fold import Folded, fold

BNB_PRICE = Decimal("312.5")
BTC, BNB = "BTC/USDT", "BNB/USDT"


def market_of(symbol: str) -> Market:
    """Filters as the loopback exchange has them."""
    base, quote = symbol.split("/")
    lot = Decimal("0.001") if base == "BNB" else Decimal("0.00001")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=Decimal("0.01"),
        lot_step=lot,
        min_qty=lot,
        min_notional=Decimal(5),
        maker_fee=Decimal("0.001"),
        taker_fee=Decimal("0.001"),
    )


def cell_of(index: int, qty: str, state: CellState = CellState.HOLDING, order_id: str | None = None) -> Cell:
    """A cell of BNB/USDT that bought `qty` at 300; cell i sells at 310 + i."""
    return Cell(
        key=f"g.{index}",
        grid_id="g",
        index=index,
        buy_price=Decimal(300),
        sell_price=Decimal(310 + index),
        state=state,
        cycle=3,
        qty=Decimal(qty),
        basis=Decimal(qty) * 300,
        order_id=order_id,
    )


def order_of(cell: Cell, side: Side, qty: str, state: IntentState = IntentState.OPEN) -> Intent:
    """The journal entry of the cell's order."""
    return Intent(
        client_id=cell.order_id or "",
        symbol=BNB,
        cell_key=cell.key,
        side=side,
        price=Decimal(310),
        qty=Decimal(qty),
        cycle=3,
        units=0,
        post_only=True,
        created_ms=1,
        units_left=0,
        state=state,
        exchange_id="1",
    )


def fee_of(amount: str, worth: str | None = "1", number: int = 1) -> QueuedFee:
    """A fee of BTC/USDT."""
    return QueuedFee(
        payer=BNB,
        source=BTC,
        trade_id=str(number),
        amount=Decimal(amount),
        worth=None if worth is None else Decimal(worth),
        at_ms=number,
    )


def folded_of(cells: list[Cell], intents: tuple[Intent, ...] = ()) -> Folded:
    """The state of BNB/USDT after a fold without fills."""
    basis = total(cell.basis for cell in cells)
    book = Book(symbol=BNB, cash=-basis, base=total(cell.qty for cell in cells), basis=basis)
    return Folded(book, {cell.key: cell for cell in cells}, {one.client_id: one for one in intents})


def paid(folded: Folded, *fees: QueuedFee, now_ms: int = 99) -> Folded:
    """After the symbol's tick has read these fees."""
    pay_fees(folded, {fee.field: fee for fee in fees}, market_of(BNB), now_ms)
    assert value(folded.book, BNB_PRICE).identity_error == 0
    assert folded.book.basis == total(cell.basis for cell in folded.cells.values())
    return folded


def test_a_fee_leaves_base_and_used_and_never_cash() -> None:
    """0.01 BNB that had cost 3, worth 3.125 in the other book: 3 leave `used`, 0.125 is profit."""
    before = folded_of([cell_of(0, "1")])
    cash = before.book.cash
    after = paid(before, fee_of("0.01", "3.125"))
    book = after.book
    assert (book.base, book.basis, book.cash) == (Decimal("0.99"), Decimal(297), cash)
    assert (book.other_value, book.grid_profit) == (Decimal("-3.125"), Decimal("0.125"))
    assert (book.fee_base, book.fee_basis) == (Decimal("0.01"), Decimal(3))
    assert [move.used_delta for move in after.moves] == [-3 * 10**8]
    assert after.paid == [f"{BTC}|1"]


def test_remainders_pay_first_then_the_highest_sell_price() -> None:
    """Cells without an order; what a cell has left that is too small to sell becomes a remainder of the next cycle."""
    dust, low, high = cell_of(0, "0.002", CellState.IDLE), cell_of(1, "1"), cell_of(2, "0.02")
    after = paid(folded_of([low, high, dust]), fee_of("0.012"))
    assert after.cells["g.0"].qty == 0
    assert after.cells["g.1"] == low
    assert after.cells["g.2"].qty == Decimal("0.010")
    assert (after.cells["g.2"].state, after.cells["g.2"].cycle) == (CellState.IDLE, 4)
    assert (after.cells["g.0"].cycle, after.to_cancel) == (3, [])


def test_base_that_no_sell_locks_pays_before_a_sell_is_cancelled() -> None:
    """A remainder below a resting buy, and what a sell's lot step left over."""
    buying = cell_of(0, "0.0005", CellState.BUYING, "b")
    selling = cell_of(1, "0.1004", CellState.SELLING, "s")
    intents = order_of(buying, Side.BUY, "0.1"), order_of(selling, Side.SELL, "0.1")
    after = paid(folded_of([buying, selling], intents), fee_of("0.0009"))
    assert (after.cells["g.0"].qty, after.cells["g.1"].qty) == (ZERO, Decimal("0.1"))
    assert after.to_cancel == []


def test_the_farthest_sell_is_cancelled_and_the_fee_waits_for_its_end() -> None:
    """Nothing changes at this tick; once the sell has ended, its cell pays."""
    near, far = cell_of(1, "0.1", CellState.SELLING, "n"), cell_of(5, "0.1", CellState.SELLING, "f")
    intents = order_of(near, Side.SELL, "0.1"), order_of(far, Side.SELL, "0.1")
    waiting = paid(folded_of([near, far], intents), fee_of("0.0009"), fee_of("0.0002", number=2))
    assert (waiting.to_cancel, waiting.fees_waiting, waiting.paid, waiting.moves) == (["f"], 2, [], [])
    ended = far.model_copy(update={"state": CellState.HOLDING, "order_id": None})
    after = paid(folded_of([near, ended], intents[:1]), fee_of("0.0009"), fee_of("0.0002", number=2))
    assert after.cells["g.5"].qty == Decimal("0.0989")
    assert (after.to_cancel, after.fees_waiting, len(after.paid)) == ([], 0, 2)


def test_sells_in_doubt_are_waited_for_and_not_cancelled() -> None:
    """An order without an answer may not exist."""
    far, near = cell_of(5, "0.1", CellState.SELLING, "f"), cell_of(1, "0.1", CellState.SELLING, "n")
    intents = order_of(far, Side.SELL, "0.1", IntentState.UNKNOWN), order_of(near, Side.SELL, "0.1")
    assert paid(folded_of([near, far], intents), fee_of("0.0009")).to_cancel == ["n"]


def test_where_all_cells_hold_too_little_the_rest_stays_a_third_coin_fee() -> None:
    """They give what they have, and its share of the worth."""
    after = paid(folded_of([cell_of(0, "0.001", CellState.IDLE)]), fee_of("0.004", "1.25"))
    assert (after.book.base, after.book.fee_base) == (ZERO, Decimal("0.001"))
    assert after.book.other_value == Decimal("-0.3125")
    assert after.paid == [f"{BTC}|1"]
    empty = paid(folded_of([cell_of(0, "0", CellState.IDLE)]), fee_of("0.004", "1.25"))
    assert (empty.book.other_value, empty.paid) == (ZERO, [f"{BTC}|1"])


def test_a_fee_above_all_that_the_cells_hold_waits_while_a_buy_may_have_filled() -> None:
    """The fill that brought the coin may be read later than the fee. A minute is enough for an order that rests."""
    holding, buying = cell_of(0, "0.001", CellState.IDLE), cell_of(1, "0", CellState.BUYING, "b")
    selling = cell_of(2, "0.001", CellState.SELLING, "s")
    sell = order_of(selling, Side.SELL, "0.001")
    for state, now_ms, waits in (
        (IntentState.OPEN, 60_000, True),
        (IntentState.OPEN, 60_001, False),
        (IntentState.UNKNOWN, 10**9, True),
    ):
        buy = order_of(buying, Side.BUY, "0.1", state)
        after = paid(folded_of([holding, buying, selling], (buy, sell)), fee_of("0.004"), now_ms=now_ms)
        assert (after.fees_waiting, after.book.fee_base > 0) == (int(waits), not waits)
        assert after.to_cancel == [], "a sell would not be enough"
    both = paid(folded_of([holding, buying], (buy,)), fee_of("0.004"), fee_of("0.0005", number=2))
    assert (both.fees_waiting, both.paid) == (2, []), "the older one first"
    assert paid(folded_of([holding, selling], (sell,)), fee_of("0.004")).fees_waiting == 0, "nothing can come"


def test_a_fee_waits_for_its_worth() -> None:
    """The book of the trade's symbol does not know it yet."""
    after = paid(folded_of([cell_of(0, "1")]), fee_of("0.01", None))
    assert (after.book.base, after.fees_waiting, after.paid, after.to_cancel) == (Decimal(1), 1, [], [])


def test_the_fees_of_a_rebuild_are_one_entry() -> None:
    """Amounts and worths are summed, for one payer."""
    fees = [
        fee_of("0.01", "3", 1),
        fee_of("0.02", "7", 2),
        fee_of("9", "9", 3).model_copy(update={"payer": "OKB/USDT"}),
    ]
    one = summed(fees, BNB, BTC)
    assert one is not None
    assert (one.field, one.amount, one.worth, one.at_ms) == (f"{BTC}|rebuilt", Decimal("0.03"), Decimal(10), 2)
    assert summed(fees, "ETH/USDT", BTC) is None


# --- any history ---------------------------------------------------------------------------------------


@dataclass
class Trader:
    """One symbol's book and cells, and its fee queue."""

    symbol: str
    book: Book = field(init=False)
    cells: dict[str, Cell] = field(init=False)
    queue: dict[str, QueuedFee] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    used: int = 0

    def __post_init__(self) -> None:
        """Three empty cells."""
        self.book = Book(symbol=self.symbol)
        self.cells = {f"g.{index}": cell_of(index, "0", CellState.IDLE) for index in range(3)}


@dataclass
class Account:
    """Two traders on one account. `coins`: what trades and fees did to its balances."""

    traders: dict[str, Trader] = field(default_factory=lambda: {symbol: Trader(symbol) for symbol in (BTC, BNB)})
    coins: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(("BTC", "BNB", "USDT"), ZERO))
    now_ms: int = 0

    def move(self, coin: str, amount: Decimal) -> None:
        """A balance changes."""
        self.coins[coin] = total([self.coins[coin], amount])

    def tick(self, symbol: str, price: Decimal | None, evidence: Mapping[str, Evidence]) -> None:
        """As `decide`: fold, value, pay; the records go where the script would put them."""
        trader, market = self.traders[symbol], market_of(symbol)
        prices = {} if price is None else {"BNB": price}
        moved = {name: trader.intents[name] for name in evidence}
        folded = fold(trader.book, trader.cells, moved, evidence, market, self.now_ms, 0, prices, ZERO)
        folded.intents = {name: one for name, one in trader.intents.items() if name not in moved} | folded.intents
        value_pending(folded, prices)
        pay_fees(folded, trader.queue, market, self.now_ms)
        trader.book, trader.cells, trader.intents = folded.book, folded.cells, folded.intents
        trader.used += sum(move.used_delta for move in folded.moves)
        for name in folded.paid:
            del trader.queue[name]
        for fee in folded.fees:
            self.traders[fee.payer].queue[fee.field] = fee
        for fee in folded.valued:
            if fee.field in self.traders[fee.payer].queue:
                self.traders[fee.payer].queue[fee.field] = fee
        for client_id in folded.to_cancel:
            self.end(symbol, client_id, ZERO, price)

    def trade(self, symbol: str, index: int, buy: bool, lots: int, coin: str, price: Decimal | None) -> None:
        """An order of the cell, filled whole; its fee in `coin`."""
        trader, market, self.now_ms = self.traders[symbol], market_of(symbol), self.now_ms + 1
        cell = trader.cells[f"g.{index}"]
        if cell.order_id is not None:
            return
        qty = lots * market.lot_step if buy else min(lots * market.lot_step, market.qty(cell.qty))
        if qty == 0:
            return
        side = Side.BUY if buy else Side.SELL
        self.place(symbol, cell, side, qty)
        self.end(symbol, f"o{self.now_ms}", qty, price, coin)

    def place(self, symbol: str, cell: Cell, side: Side, qty: Decimal) -> None:
        """Journal an order of the cell."""
        trader, name = self.traders[symbol], f"o{self.now_ms}"
        state = CellState.BUYING if side is Side.BUY else CellState.SELLING
        trader.cells[cell.key] = cell.model_copy(update={"state": state, "order_id": name})
        entry = order_of(trader.cells[cell.key], side, str(qty))
        trader.intents[name] = entry.model_copy(update={"symbol": symbol, "exchange_id": name})

    def end(self, symbol: str, name: str, qty: Decimal, price: Decimal | None, coin: str = "USDT") -> None:
        """The order ends with `qty` filled, and the symbol ticks."""
        intent = self.traders[symbol].intents[name]
        base = symbol.partition("/")[0]
        rate = Decimal("0.00075")
        worth = {"USDT": intent.price, base: Decimal(1)}.get(coin) or intent.price / BNB_PRICE
        fee = (qty * rate * worth).quantize(Decimal("1e-8"))
        found = Order(
            exchange_id=name,
            client_id=name,
            symbol=symbol,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            filled=qty,
            status=OrderStatus.FILLED if qty else OrderStatus.CANCELLED,
            at_ms=self.now_ms,
        )
        trades: tuple[Trade, ...] = ()
        if qty:
            one = Trade(
                trade_id=name,
                exchange_id=name,
                symbol=symbol,
                side=intent.side,
                price=intent.price,
                qty=qty,
                fee=fee,
                fee_currency=coin,
                maker=True,
                at_ms=self.now_ms,
            )
            trades = (one,)
            sign = 1 if intent.side is Side.BUY else -1
            self.move(base, sign * qty)
            self.move("USDT", -sign * qty * intent.price)
            self.move(coin, -fee)
        self.tick(symbol, price, {name: Evidence(looked_up=True, found=found, trades=trades)})

    def check(self) -> None:
        """Exact identities of each symbol and of all, and of every coin on the account."""
        books = {symbol: trader.book for symbol, trader in self.traders.items()}
        values = [value(book, Decimal("417.3")) for book in books.values()]
        assert [one.identity_error for one in values] == [0, 0]
        change = total(one.equity_change for one in values)
        assert change == total([*(one.grid_profit for one in values), *(one.floating for one in values)])
        assert self.coins["USDT"] == total(book.cash for book in books.values())
        for symbol, trader in self.traders.items():
            coin, book = symbol.partition("/")[0], trader.book
            elsewhere = total(-one.other_fees.get(coin, ZERO) for one in books.values())
            assert self.coins[coin] == total([book.base, book.fee_base, elsewhere])
            assert book.base == total(cell.qty for cell in trader.cells.values())
            assert book.basis == total(cell.basis for cell in trader.cells.values())
            assert trader.used == sum(cell.used_units for cell in trader.cells.values())


STEP = st.tuples(
    st.sampled_from(["trade", "trade", "rest", "tick"]),
    st.sampled_from([BTC, BNB]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(1, 900),
    st.sampled_from(["USDT", "BNB", "BNB", "base"]),
    st.sampled_from([BNB_PRICE, None]),
)


@given(st.lists(STEP, max_size=40))
@settings(max_examples=300, deadline=None)
def test_every_identity_is_exact_whatever_comes_first(
    steps: list[tuple[str, str, int, bool, int, str, Decimal]],
) -> None:
    """Random fills, fees with and without a price, resting sells and queue orders; then everything is settled.

    At the end no fee waits, so all that the exchange took in BNB has left the books, as far as they held it.
    """
    account = Account()
    for kind, symbol, index, buy, lots, coin, price in steps:
        coin = symbol.partition("/")[0] if coin == "base" else coin
        trader = account.traders[symbol]
        cell = trader.cells[f"g.{index}"]
        if kind == "trade":
            account.trade(symbol, index, buy, lots, coin, price)
        elif kind == "rest" and cell.state is CellState.HOLDING and cell.order_id is None:
            account.now_ms += 1
            account.place(symbol, cell, Side.SELL, market_of(symbol).qty(cell.qty))
        else:
            account.tick(symbol, price, {})
        account.check()
    for _ in range(6):
        for symbol in (BTC, BNB):
            account.tick(symbol, BNB_PRICE, {})
            account.check()
    assert [trader.queue for trader in account.traders.values()] == [{}, {}]
    assert unvalued_fees(trader.book for trader in account.traders.values()) == {}
    assert all(trader.book.base >= 0 for trader in account.traders.values())


@pytest.mark.parametrize("price", [BNB_PRICE, None])
def test_base_of_the_books_is_base_of_the_account(price: Decimal | None) -> None:
    """BNB is bought, BTC is bought and sold with fees in BNB, BNB is sold with a fee of its own: to the last digit."""
    account = Account()
    account.trade(BNB, 0, True, 500, "BNB", BNB_PRICE)
    account.trade(BNB, 1, True, 500, "BNB", BNB_PRICE)
    for number in range(4):
        account.trade(BTC, number % 2, number < 2, 300, "BNB", price)
    account.trade(BNB, 0, False, 400, "BNB", BNB_PRICE)
    account.tick(BTC, BNB_PRICE, {})
    account.tick(BNB, BNB_PRICE, {})
    account.check()
    assert account.traders[BNB].book.base == account.coins["BNB"]
    assert account.traders[BNB].book.fee_base > 0
