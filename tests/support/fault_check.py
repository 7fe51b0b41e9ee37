"""Checks at the end of a scenario: every order's outcome is known, and the books equal the exchange's own record."""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from tasks.base.errors import GridflowError
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient
from tasks.exchange.order_ids import parse_order_id
from tasks.grid.models import Cell
from tasks.ledger.audit import Cause
from tasks.ledger.base_guard import CorrectionKind
from tasks.ledger.models import Book
from tasks.ledger.rules import total, value
from tasks.ledger.steps import audit_funds
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tasks.tick.window import BreakerOpen
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import (
    OrderRow,
    Record,
    TradeRow,
    most_committed,
    open_orders,
    sent_twice,
    unseen_trades,
)
from tests.support.desk import BTC
from tests.support.outbox import booked_fills, ended_orders

FORGOTTEN = Decimal(12)  # quote: remainders that could not be sold
Tick = Callable[[], Coroutine[Any, Any, TickReport]]


async def settle(trader: GridTrader, tick: Tick | None = None, pause: float = 0.04) -> None:
    """Tick every `pause` seconds until the outcome of every order is known and two ticks in a row change nothing."""
    quiet = 0
    for _ in range(120):
        await asyncio.sleep(pause)
        try:
            report = await (tick or trader.tick)()
        except BreakerOpen as closed:
            await asyncio.sleep(closed.wait_seconds)
            continue
        except GridflowError:
            continue
        entries = await trader.desk.redis.hvals(trader.desk.keys.intents(trader.symbol))
        unknown = any('"state":"INTENT"' in str(text) or '"state":"UNKNOWN"' in str(text) for text in entries)
        quiet = 0 if unknown or report.fills or report.placed else quiet + 1
        if quiet >= 2:
            return
    raise AssertionError("the journal never settled")


def lot_of(order: OrderRow) -> str:
    """The lot of an order for cost basis: its cell."""
    name = parse_order_id(order.client_id)
    return name.cell_key if name else order.symbol


def sharing_a_cell(record: Record, but: Collection[str] = ()) -> list[int]:
    """Orders that were placed while another order of the same cell was open; `but`: client ids to leave out."""
    orders = {order.order_id: order for order in record.orders}
    left = {order.order_id: order.qty for order in record.orders}
    traded = {trade.trade_id: trade.qty for trade in record.trades}
    holder: dict[str, int] = {}
    found = []
    for event in record.events:
        if orders[event.order_id].client_id in but:
            continue
        cell = lot_of(orders[event.order_id])
        if event.kind == "placed":
            found += [event.order_id] if cell in holder else []
            holder[cell] = event.order_id
        elif event.trade_id is not None:
            left[event.order_id] -= traded[event.trade_id]
        if (event.kind == "closed" or left[event.order_id] <= 0) and holder.get(cell) == event.order_id:
            del holder[cell]
    return found


async def strays(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> set[str]:
    """Client ids reported as orphan orders that no journal ever had.

    Two stale readings in a row may report a settled order: that one is left out.
    """
    events: Sequence[Any] = await redis.xrange(keys.events) or ()
    reported = {json.loads(fields["body"])["id"] for _, fields in events if fields["type"] == EventKind.ORPHAN_ORDER}
    settled = [await ended_orders(redis, keys, symbol) for symbol in symbols]
    return reported - {order.client_id for orders in settled for order in orders}


async def check_books(desk: BinanceDesk, record: Record, symbols: Sequence[str] = (BTC,)) -> None:
    """Raise AssertionError unless both say the same of `symbols`, the only ones traded, under one pool."""
    await check_orders_and_accounts(desk, record, symbols)
    status = await desk.desk.allocator.get_global_status_summary()
    pool = from_units(status.pool_units)
    assert most_committed(record, lot_of) <= pool, "the exchange saw more spent than the pool"
    assert from_units(status.max_committed_units) <= pool


async def check_orders_and_accounts(
    desk: BinanceDesk,
    record: Record,
    symbols: Sequence[str],
    start: Decimal = Decimal(10_000),
    unlisted: Collection[str] = (),
    placed_by_hand: Collection[str] = (),
) -> set[str]:
    """Raise AssertionError unless orders, journals and books of `symbols` are those of the exchange.

    Returns the symbols that Redis lost all records of, after they had left the settings and sold what they held.

    `start`: quote in the account before anybody traded. `unlisted`: symbols that the exchange no longer lists.
    `placed_by_hand`: client ids of ours that no journal had.
    """
    redis, keys = desk.desk.redis, desk.desk.keys
    assert sent_twice(record) == {}, "an order was sent twice"
    assert all(parse_order_id(order.client_id) for order in record.orders), "an order without one of our names"
    assert sharing_a_cell(record, placed_by_hand) == [], "two orders of one cell rested at once"
    assert await strays(redis, keys, symbols) <= set(placed_by_hand), "an order without a journal"
    assert {trade.symbol for trade in record.trades} <= {symbol.replace("/", "") for symbol in symbols}
    balances, books = await desk.client.balances(), {}
    unread: list[TradeRow] = []
    forgotten: set[str] = set()
    for symbol in symbols:
        books[symbol] = await _check_book(redis, keys, record, symbol)
        last = books[symbol].unread
        assert symbol in unlisted or last == () or _is_forgotten(books[symbol]), f"{symbol}: a fill is missing"
        forgotten |= {symbol} if last and symbol not in unlisted else set()
        unread += last
        resting = {order.client_id for order in open_orders(record, symbol)}
        journal = {str(name) for name in await redis.hkeys(keys.intents(symbol))}
        assert resting == journal, f"{symbol}: no keeper: {resting - journal}, no order: {journal - resting}"
        reserved = {str(name) for name in await redis.hkeys(keys.reservations(symbol))}
        assert reserved == journal, f"{symbol}: reserved without an order: {reserved ^ journal}"
    cash = change_of(unread, desk.desk.settings.quote)
    for symbol, (book, written_off, _, was_short) in books.items():
        coin = symbol.partition("/")[0]
        off, cash = written_off + change_of(unread, coin), cash + book.cash
        if (
            was_short or written_off
        ):  # base outside the cells pays fees of other symbols while the cells hold too little
            off += book.fee_base - total(one.book.other_fees.get(coin, Decimal(0)) for one in books.values())
        base = balances.get(coin)
        held = base.free + base.locked if base else Decimal(0)
        pays_fees = symbol in unlisted and any(
            trade.fee_asset == coin and trade.symbol != symbol.replace("/", "") for trade in record.trades
        )  # after a write-off, what lies in the account goes on paying fees
        assert held == book.base + off or (pays_fees and held < book.base + off), (
            f"{symbol}: the account holds {held}, the books {book.base} and {off} outside them"
        )
    quote = balances[desk.desk.settings.quote]
    assert quote.free + quote.locked == start + cash
    report = await audit_funds(redis, keys, [one for one in symbols if one not in unlisted], desk.client)
    coins = {symbol.partition("/")[0] for symbol in unlisted}  # they cannot tick, and may go on paying fees
    coins |= {trade.fee_asset for trade in unread}  # fees of trades that cannot be read any more
    found = [one for one in report.differences if one.cause is not Cause.UNLISTED and one.subject not in coins]
    assert found == [], found
    return forgotten


def _is_forgotten(found: "_Checked") -> bool:
    """Whether Redis lost all records of a symbol that left the settings and had sold what it held."""
    left = change_of(found.unread, found.book.symbol.partition("/")[0])
    is_empty = found.book.buys + found.book.sells == 0
    return is_empty and left * max(trade.price for trade in found.unread) < FORGOTTEN


class _Checked(NamedTuple):
    """A symbol's book; the base that was written off, or was missing and is back on the account by now.

    `unread`: its last trades, where it was delisted before they were read. `was_short`: base was booked as missing.
    """

    book: Book
    written_off: Decimal
    unread: tuple[TradeRow, ...]
    was_short: bool


async def _check_book(redis: RedisClient, keys: Keys, record: Record, symbol: str) -> _Checked:
    """Hold one symbol's fills against the exchange's trades."""
    booked: Sequence[Any] = await redis.zrange(keys.seen(symbol), 0, -1)
    seen = [str(one) for one in booked if ":" not in str(one)]  # remainders that were moved or written off have one
    unread = unseen_trades(record, seen, symbol)
    traded = [trade for trade in record.trades if trade.symbol == symbol.replace("/", "")]
    assert len(seen) + len(unread) == len(traded), f"{symbol}: a fill was booked that never was"
    text = await redis.get(keys.book(symbol))
    book = Book.model_validate_json(text) if text else Book(symbol=symbol)
    assert value(book, Decimal("42123.45")).identity_error == 0
    cells = [Cell.model_validate_json(one) for one in await redis.hvals(keys.cells(symbol))]
    in_cells = total(cell.qty for cell in cells)
    assert in_cells == book.base, f"{symbol}: the cells hold {in_cells}, the book {book.base}"
    fills = await booked_fills(redis, keys, symbol)
    off = total([book.missing_base, *(fill.qty for fill in fills if fill.trade_id.startswith("write-off:"))])
    was_short = any(fill.trade_id.startswith(f"{CorrectionKind.MISSING}:") for fill in fills)
    return _Checked(book, off, tuple(unread), was_short)


def change_of(trades: Iterable[TradeRow], asset: str) -> Decimal:
    """How much these trades changed the account's balance of `asset`."""
    change = Decimal(0)
    for trade in trades:
        sign = 1 if trade.side == "BUY" else -1
        if trade.symbol.startswith(asset):
            change += sign * trade.qty
        elif trade.symbol.endswith(asset):
            change -= sign * trade.qty * trade.price
        change -= trade.fee if trade.fee_asset == asset else 0
    return change
