"""Booking fills and valuing books. Pure, exact Decimal."""

from collections.abc import Iterable
from decimal import Decimal

from tasks.base.money import ZERO, exact, floor_to
from tasks.exchange.models import Market, Side, Trade
from tasks.grid.models import Cell
from tasks.ledger.models import HOUR_MS, HOURS_KEPT, Book, Fill, Valuation

BASIS_STEP = Decimal("1e-8")


def book_fill(
    book: Book, cell: Cell, trade: Trade, client_id: str, market: Market, coin_price: Decimal | None = None
) -> tuple[Book, Cell, Fill]:
    """Book one trade of an order of the cell: the new book and cell, and the fill.

    `coin_price`: quote per unit of the fee's currency; required where that is neither base nor quote (ValueError).
    """
    with exact():
        fee_quote = _fee_worth(trade, market, coin_price)
        booked = _book_buy if trade.side is Side.BUY else _book_sell
        new_book, new_cell, basis, profit = booked(book, cell, trade, market, fee_quote)
        new_book = _count(new_book, trade, market, fee_quote)
        fill = Fill(
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
            fee_quote=fee_quote,
            maker=trade.maker,
            at_ms=trade.at_ms,
            basis=basis,
            profit=profit,
        )
        return new_book, new_cell, fill


def _fee_worth(trade: Trade, market: Market, coin_price: Decimal | None) -> Decimal:
    if trade.fee_currency == market.quote:
        return trade.fee
    if trade.fee_currency == market.base:
        return trade.fee * trade.price
    if trade.fee == 0:
        return ZERO
    if coin_price is None:
        raise ValueError(f"trade {trade.trade_id}: its fee in {trade.fee_currency} needs a price")
    return trade.fee * coin_price


def _split_fee(trade: Trade, market: Market, fee_quote: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """The fee as (base taken, quote taken, worth of a third coin)."""
    if trade.fee_currency == market.base:
        return trade.fee, ZERO, ZERO
    if trade.fee_currency == market.quote:
        return ZERO, trade.fee, ZERO
    return ZERO, ZERO, fee_quote


def _book_buy(
    book: Book, cell: Cell, trade: Trade, market: Market, fee_quote: Decimal
) -> tuple[Book, Cell, Decimal, Decimal]:
    base_fee, quote_fee, other = _split_fee(trade, market, fee_quote)
    paid = trade.price * trade.qty + quote_fee
    received, cost = trade.qty - base_fee, paid + other
    new_cell = cell.model_copy(update={"qty": cell.qty + received, "basis": cell.basis + cost})
    changes = {"cash": book.cash - paid, "base": book.base + received, "basis": book.basis + cost}
    return book.model_copy(update=changes | {"buys": book.buys + 1}), new_cell, cost, ZERO


def _book_sell(
    book: Book, cell: Cell, trade: Trade, market: Market, fee_quote: Decimal
) -> tuple[Book, Cell, Decimal, Decimal]:
    base_fee, quote_fee, other = _split_fee(trade, market, fee_quote)
    sold = trade.qty + base_fee
    freed = _freed_basis(cell, sold)
    income = trade.price * trade.qty - quote_fee
    profit = income - other - freed
    new_cell = cell.model_copy(
        update={
            "qty": max(cell.qty - sold, ZERO),
            "basis": cell.basis - freed,
            "profit": cell.profit + profit,
        }
    )
    changes = {
        "cash": book.cash + income,
        "base": book.base - sold,
        "basis": book.basis - freed,
        "grid_profit": book.grid_profit + profit,
        "sells": book.sells + 1,
    }
    return book.model_copy(update=changes), new_cell, freed, profit


def _freed_basis(cell: Cell, sold: Decimal) -> Decimal:
    """Cost of `sold` base of the cell: in proportion, rounded down to 1e-8 quote; all of it when nothing is left."""
    if sold >= cell.qty:
        return cell.basis
    return floor_to(cell.basis * sold / cell.qty, BASIS_STEP)


def write_off(book: Book, cell: Cell, at_ms: int, trade_id: str) -> tuple[Book, Cell, Fill]:
    """Write off what the cell holds: booked as a sale at price 0, whose loss is the inventory's cost."""
    with exact():
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
        )
        changes = {
            "base": book.base - cell.qty,
            "basis": book.basis - cell.basis,
            "grid_profit": book.grid_profit - cell.basis,
            "sells": book.sells + 1,
        }
        lost = {"qty": ZERO, "basis": ZERO, "profit": cell.profit - cell.basis}
        return book.model_copy(update=changes), cell.model_copy(update=lost), fill


def with_return(book: Book, fill: Fill, allocated: Decimal) -> Book:
    """The book with a sell's profit counted as a return on `allocated` (quote); other fills change nothing."""
    if fill.side is Side.BUY or allocated <= 0:
        return book
    hour = fill.at_ms // HOUR_MS
    returns = dict(book.hourly_returns)
    returns[hour] = round(returns.get(hour, ZERO) + fill.profit / allocated, 12)
    oldest = max(returns) - HOURS_KEPT
    return book.model_copy(update={"hourly_returns": {at: one for at, one in returns.items() if at > oldest}})


def return_72h(book: Book, now_ms: int) -> Decimal:
    """Grid profit of the last 72 hours per quote allocated when it was made."""
    oldest = now_ms // HOUR_MS - HOURS_KEPT
    return sum((one for hour, one in book.hourly_returns.items() if hour > oldest), ZERO)


def _count(book: Book, trade: Trade, market: Market, fee_quote: Decimal) -> Book:
    other = dict(book.other_fees)
    third = trade.fee_currency not in (market.base, market.quote) and trade.fee != 0
    if third:
        other[trade.fee_currency] = other.get(trade.fee_currency, ZERO) + trade.fee
    return book.model_copy(
        update={
            "fees": book.fees + fee_quote,
            "other_fees": other,
            "other_value": book.other_value + (fee_quote if third else ZERO),
            "volume": book.volume + trade.price * trade.qty,
            "cursor_ms": max(book.cursor_ms, trade.at_ms),
        }
    )


def value(book: Book, price: Decimal) -> Valuation:
    """The book at `price` (quote per base)."""
    with exact():
        inventory = book.base * price
        floating = inventory - book.basis
        change = book.cash - book.other_value + inventory
        return Valuation(
            equity_change=change,
            grid_profit=book.grid_profit,
            floating=floating,
            inventory_value=inventory,
            identity_error=change - book.grid_profit - floating,
        )


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Exact sum."""
    with exact():
        return sum(amounts, ZERO)
