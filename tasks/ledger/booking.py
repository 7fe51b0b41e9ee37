"""Booking fills, fees and corrections in a symbol's book and cells. Pure, exact Decimal."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from tasks.base.money import ZERO, exact
from tasks.base.unchecked import changed, unchecked
from tasks.exchange.models import Market, Side, Trade
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.grid.models import Cell
from tasks.ledger.costs import freed_basis, left_after, recouped_basis
from tasks.ledger.models import HOUR_MS, HOURS_KEPT, Book, Fill, UnvaluedFee


def book_fill(
    book: Book,
    cell: Cell,
    trade: Trade,
    client_id: str,
    market: Market,
    coin_price: Decimal | None = None,
    needed: Decimal = ZERO,
) -> tuple[Book, Cell, Fill]:
    """Book one trade of an order of the cell: the new book and cell, and the fill.

    `coin_price`: quote per unit of the fee's currency, where that is neither base nor quote; None: not known yet.
    `needed`: see `fee_elsewhere`.
    """
    with exact():
        fee_quote = _fee_worth(trade, market, coin_price)
        split = _split_fee(cell, trade, market, fee_quote or ZERO, needed)
        if trade.side is Side.BUY:
            traded, new_cell, basis, profit = _book_buy(book, cell, trade, split)
        else:
            name = parse_order_id(client_id)
            recoups = name is not None and name.purpose is Purpose.RECOUP
            traded, new_cell, basis, profit = _book_sell(book, cell, trade, split, recoups=recoups)
        filled_basis = running_sum(book, trade.side, basis)
        fill = unchecked(
            Fill,
            trade_id=trade.trade_id,
            client_id=client_id,
            symbol=trade.symbol,
            cell_key=cell.key,
            side=trade.side,
            price=trade.price,
            qty=trade.qty,
            quote=trade.price * trade.qty,
            fee=trade.fee,
            fee_currency=trade.fee_currency,
            fee_quote=fee_quote or ZERO,
            maker=trade.maker,
            at_ms=trade.at_ms,
            basis=basis,
            profit=profit,
            filled_basis=filled_basis,
            earned=ZERO if trade.side is Side.BUY else new_cell.earned - cell.earned,
        )
        counted = _counted(book, trade, split, fee_quote)
        return changed(book, **traded, **counted, filled_basis=filled_basis), new_cell, fill


def running_sum(book: Book, side: Side, basis: Decimal) -> Decimal:
    """The book's `filled_basis` with one more fill."""
    before = book.basis + book.fee_basis if book.filled_basis is None else book.filled_basis
    with exact():
        return before + (basis if side is Side.BUY else -basis)


def with_running_sums(fills: Iterable[Fill], before: Book) -> list[Fill]:
    """Fills that were booked in another order: with their running sums in this one, from the book before them."""
    out: list[Fill] = []
    for fill in fills:
        before = before.model_copy(update={"filled_basis": running_sum(before, fill.side, fill.basis)})
        out.append(fill.model_copy(update={"filled_basis": before.filled_basis}))
    return out


def _fee_worth(trade: Trade, market: Market, coin_price: Decimal | None) -> Decimal | None:
    if trade.fee_currency == market.quote:
        return trade.fee
    if trade.fee_currency == market.base:
        return trade.fee * trade.price
    if trade.fee == 0:
        return ZERO
    return None if coin_price is None else trade.fee * coin_price


def fee_elsewhere(cell: Cell, trade: Trade, market: Market, needed: Decimal = ZERO) -> Decimal:
    """How much of the trade's fee is paid neither in quote nor from the base of its own cell, in the fee's currency.

    All of a fee in a third coin; of a fee in base, for a sell, what is beyond the cell's rest. `needed`: base of the
    cell that later trades of the same order sell.
    """
    if trade.fee_currency == market.quote:
        return ZERO
    if trade.fee_currency != market.base:
        return trade.fee
    if trade.side is Side.BUY:
        return ZERO
    with exact():
        return min(max(trade.fee, ZERO), max(trade.qty + trade.fee + needed - cell.qty, ZERO))


class _FeeParts(NamedTuple):
    """A fee by who pays it: base of the cell, quote, and elsewhere (in the fee's currency, and its worth in quote)."""

    base: Decimal
    quote: Decimal
    elsewhere: Decimal
    elsewhere_worth: Decimal


def _split_fee(cell: Cell, trade: Trade, market: Market, fee_quote: Decimal, needed: Decimal) -> _FeeParts:
    if trade.fee_currency == market.quote:
        return _FeeParts(ZERO, trade.fee, ZERO, ZERO)
    elsewhere = fee_elsewhere(cell, trade, market, needed)
    if trade.fee_currency == market.base:
        return _FeeParts(trade.fee - elsewhere, ZERO, elsewhere, elsewhere * trade.price)
    return _FeeParts(ZERO, ZERO, elsewhere, fee_quote)


def _book_buy(book: Book, cell: Cell, trade: Trade, fee: _FeeParts) -> tuple[dict[str, Any], Cell, Decimal, Decimal]:
    """The changes of the book, the cell, and the fill's basis and profit."""
    paid = trade.price * trade.qty + fee.quote
    received, cost = trade.qty - fee.base, paid + fee.elsewhere_worth
    new_cell = changed(cell, qty=cell.qty + received, basis=cell.basis + cost)
    changes = {
        "cash": book.cash - paid,
        "base": book.base + received,
        "basis": book.basis + cost,
        "received": book.received + received,
        "buys": book.buys + 1,
    }
    return changes, new_cell, cost, ZERO


def _book_sell(
    book: Book, cell: Cell, trade: Trade, fee: _FeeParts, *, recoups: bool
) -> tuple[dict[str, Any], Cell, Decimal, Decimal]:
    """The changes of the book, the cell, and the fill's basis and profit."""
    sold = trade.qty + fee.base
    income = trade.price * trade.qty - fee.quote
    freed = recouped_basis(cell, sold, income - fee.elsewhere_worth) if recoups else freed_basis(cell, sold)
    profit = income - fee.elsewhere_worth - freed
    new_cell = changed(cell, **left_after(cell, sold, freed, recoups=recoups), profit=cell.profit + profit)
    changes = {
        "cash": book.cash + income,
        "base": book.base - sold,
        "basis": book.basis - freed,
        "grid_profit": book.grid_profit + profit,
        "sells": book.sells + 1,
    }
    return changes, new_cell, freed, profit


class SoldBeyond(NamedTuple):
    """The records after a sell took base from another cell than its own."""

    book: Book
    giver: Cell
    seller: Cell
    fill: Fill


def sell_beyond(book: Book, giver: Cell, seller: Cell, fill: Fill, qty: Decimal) -> SoldBeyond:
    """Take `qty` base that the newest fill sold, beyond what its cell held, from `giver`: its cost is freed there.

    The fill's income is booked already; its profit, and that of the cell that sold, is less by that cost.
    """
    with exact():
        freed = freed_basis(giver, qty)
        filled_basis = running_sum(book, Side.SELL, freed)
        less = {"grid_profit": book.grid_profit - freed, "basis": book.basis - freed, "filled_basis": filled_basis}
        own = {"basis": fill.basis + freed, "profit": fill.profit - freed, "filled_basis": filled_basis}
        return SoldBeyond(
            book.model_copy(update=less),
            giver.model_copy(update=left_after(giver, qty, freed)),
            seller.model_copy(update={"profit": seller.profit - freed}),
            fill.model_copy(update=own),
        )


def with_own_base(book: Book, qty: Decimal) -> Book:
    """The book with `qty` of the owner's own base, which a sell took and no cell held: it came in at no cost."""
    with exact():
        return book.model_copy(update={"base": book.base + qty, "missing_base": book.missing_base - qty})


def write_off(book: Book, cell: Cell, at_ms: int, trade_id: str) -> tuple[Book, Cell, Fill]:
    """Write off what the cell holds: booked as a sale at price 0, whose loss is the inventory's cost."""
    with exact():
        filled_basis = running_sum(book, Side.SELL, cell.basis)
        fill = Fill(
            trade_id=trade_id,
            client_id="",
            symbol=book.symbol,
            cell_key=cell.key,
            side=Side.SELL,
            price=ZERO,
            qty=cell.qty,
            quote=ZERO,
            fee=ZERO,
            fee_currency="",
            fee_quote=ZERO,
            maker=False,
            at_ms=at_ms,
            basis=cell.basis,
            profit=-cell.basis,
            filled_basis=filled_basis,
        )
        changes = {
            "filled_basis": filled_basis,
            "base": book.base - cell.qty,
            "basis": book.basis - cell.basis,
            "grid_profit": book.grid_profit - cell.basis,
            "sells": book.sells + 1,
        }
        lost = {"qty": ZERO, "basis": ZERO, "earned": ZERO, "profit": cell.profit - cell.basis}
        return book.model_copy(update=changes), cell.model_copy(update=lost), fill


def with_return(book: Book, fill: Fill, allocated: Decimal) -> Book:
    """The book with what a sell earned counted as a return on `allocated` (quote); other fills change nothing.

    That is its profit, and the worth of the base that it kept.
    """
    if fill.side is Side.BUY or allocated <= 0:
        return book
    hour = fill.at_ms // HOUR_MS
    returns = dict(book.hourly_returns)
    earned = fill.profit + fill.earned * fill.price
    returns[hour] = round(returns.get(hour, ZERO) + earned / allocated, 12)
    oldest = max(returns) - HOURS_KEPT
    return changed(book, hourly_returns={at: one for at, one in returns.items() if at > oldest})


def _counted(book: Book, trade: Trade, fee: _FeeParts, fee_quote: Decimal | None) -> dict[str, Any]:
    """The changes of the book's fees, volume and cursor."""
    other, unvalued = book.other_fees, book.unvalued
    if fee.elsewhere:
        other = {**other, trade.fee_currency: other.get(trade.fee_currency, ZERO) + fee.elsewhere}
    if fee_quote is None:
        fee_left = UnvaluedFee(coin=trade.fee_currency, amount=trade.fee, at_ms=trade.at_ms)
        unvalued = {**unvalued, trade.trade_id: fee_left}
    return {
        "fees": book.fees + (fee_quote or ZERO),
        "other_fees": other,
        "other_value": book.other_value + fee.elsewhere_worth,
        "unvalued": unvalued,
        "volume": book.volume + trade.price * trade.qty,
        "cursor_ms": max(book.cursor_ms, trade.at_ms),
    }


def value_fee(book: Book, trade_id: str, worth: Decimal) -> Book:
    """Book the worth (quote) of a fee that was unvalued. It lowers grid profit, because its lot may be sold already.

    Raises KeyError for a fee that is valued or unknown.
    """
    unvalued = dict(book.unvalued)
    del unvalued[trade_id]
    with exact():
        return book.model_copy(
            update={
                "fees": book.fees + worth,
                "other_value": book.other_value + worth,
                "grid_profit": book.grid_profit - worth,
                "unvalued": unvalued,
            }
        )


def pay_fee(book: Book, cell: Cell, amount: Decimal, worth: Decimal) -> tuple[Book, Cell]:
    """Take `amount` base from the cell for a fee of another trade, worth `worth` quote there.

    The symbol gives base to that trade for its worth: no cash moves, and the profit is the worth less what it had cost.
    """
    with exact():
        freed = freed_basis(cell, amount)
        profit = worth - freed
        less = left_after(cell, amount, freed) | {"profit": cell.profit + profit}
        changes = {
            "base": book.base - amount,
            "basis": book.basis - freed,
            "grid_profit": book.grid_profit + profit,
            "other_value": book.other_value - worth,
            "fee_base": book.fee_base + amount,
            "fee_basis": book.fee_basis + freed,
        }
        return book.model_copy(update=changes), cell.model_copy(update=less)
