"""The fold: books what the exchange showed into journal, cells and ledger. Pure; one script commits the result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.base.errors import RejectReason
from tasks.base.money import ZERO, exact
from tasks.base.unchecked import changed, unchecked
from tasks.exchange.models import Market, Side, Trade
from tasks.funds.models import FillMove
from tasks.grid.cells import holding_order, settled
from tasks.grid.models import Cell
from tasks.ledger.booking import book_fill, fee_elsewhere, with_return
from tasks.ledger.models import Book, Fill, QueuedFee
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.orders.rules import advance
from tasks.tick.payers import cover


@dataclass(slots=True)
class Folded:
    """The state after the fold, and the changes to commit.

    `moves`: of money. `ended` and `changed`: intents. `touched`: keys of cells to write. `fees`: of these fills, for
    fee queues. See `tasks.tick.fees` for the rest: `valued`: fees whose worth is known now; `paid`: fields of the
    symbol's own queue that are done; `fees_waiting`: how many are not; `to_cancel`: client ids of sells to end first.
    """

    book: Book
    cells: dict[str, Cell]
    intents: dict[str, Intent]
    fills: list[Fill] = field(default_factory=list)
    moves: list[FillMove] = field(default_factory=list)
    ended: list[Intent] = field(default_factory=list)
    changed: list[Intent] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    fees: list[QueuedFee] = field(default_factory=list)
    valued: list[QueuedFee] = field(default_factory=list)
    paid: list[str] = field(default_factory=list)
    fees_waiting: int = 0
    uncovered: dict[str, Decimal] = field(default_factory=dict)  # trade id → base that it sold and no cell held
    to_cancel: list[str] = field(default_factory=list)

    @property
    def has_changes(self) -> bool:
        """Whether any record is to be written."""
        return bool(self.touched or self.changed or self.ended or self.fills or self.paid or self.valued)


def fold(
    book: Book,
    cells: Mapping[str, Cell],
    intents: Mapping[str, Intent],
    evidence: Mapping[str, Evidence],
    market: Market,
    now_ms: int,
    protection_ms: int,
    coin_prices: Mapping[str, Decimal],
    allocated: Decimal,
) -> Folded:
    """Advance every intent by its evidence, book its new trades, settle the cells of ended orders.

    `evidence`: by client id. An order without any stays as it is; so does one that rests as the journal has it.
    `allocated`: to the symbol, in quote; profits count as returns on it. `coin_prices`: quote per coin that fees were
    paid in; a fee whose coin is not there is booked with its amount, and its worth stays pending.
    """
    result = Folded(book=book, cells=dict(cells), intents=dict(intents))
    for client_id in sorted(intents.keys() & evidence.keys()):
        intent = intents[client_id]
        updated, trades = advance(intent, evidence[client_id], now_ms, protection_ms)
        needed = ZERO if updated.state.ended else max(updated.qty - updated.filled, ZERO)
        needed += sum((trade.qty for trade in trades), ZERO)
        for trade in trades:
            needed -= trade.qty
            updated = _book(result, updated, trade, market, coin_prices, needed)
            result.book = with_return(result.book, result.fills[-1], allocated)
        if updated.state.ended:
            _end(result, updated, market)
        elif updated != intent:
            result.intents[client_id] = updated
            result.changed.append(updated)
    return result


def _book(
    result: Folded,
    intent: Intent,
    trade: Trade,
    market: Market,
    coin_prices: Mapping[str, Decimal],
    needed: Decimal,
) -> Intent:
    """Book one trade. `needed`: base that the order's later trades trade, or may still trade."""
    before = result.cells[intent.cell_key]
    price = coin_prices.get(trade.fee_currency)
    result.book, after, fill = book_fill(result.book, before, trade, intent.client_id, market, price, needed)
    result.cells[intent.cell_key] = after
    result.touched.add(intent.cell_key)
    _queue_fee(result, before, trade, market, price, needed)
    used_delta = after.used_units - before.used_units
    if trade.side is Side.SELL and trade.qty > before.qty:
        fill, used = _cover(result, fill, trade.qty - before.qty, market)
        used_delta += used
    result.fills.append(fill)
    take = intent.take_for(trade.qty, used_delta)
    result.moves.append(
        unchecked(
            FillMove,
            trade_id=trade.trade_id,
            at_ms=trade.at_ms,
            reservation_id=intent.client_id,
            take_units=take,
            used_delta=used_delta,
        )
    )
    return changed(intent, units_left=intent.units_left - take)


def _cover(result: Folded, fill: Fill, excess: Decimal, market: Market) -> tuple[Fill, int]:
    """Other cells give what the fill sold beyond its own: the fill, and the change of used units."""
    before = result.cells.copy()
    fill, touched, left = cover(result, fill, excess, market)
    result.touched.update(touched)
    if left > 0:
        result.uncovered[fill.trade_id] = left
    return fill, sum(result.cells[key].used_units - before[key].used_units for key in touched)


def _queue_fee(
    result: Folded, cell: Cell, trade: Trade, market: Market, price: Decimal | None, needed: Decimal
) -> None:
    """Note the part of a fee that the order's own cell, `cell` before the trade, does not pay."""
    amount = fee_elsewhere(cell, trade, market, needed)
    if amount <= 0 or not trade.fee_currency:
        return
    own_price = trade.price if trade.fee_currency == market.base else price
    with exact():
        worth = None if own_price is None else amount * own_price
    result.fees.append(
        QueuedFee(
            payer=f"{trade.fee_currency}/{market.quote}",
            source=trade.symbol,
            trade_id=trade.trade_id,
            amount=amount,
            worth=worth,
            at_ms=trade.at_ms,
        )
    )


def _end(result: Folded, intent: Intent, market: Market, retry_ms: int = 0) -> None:
    cell = result.cells[intent.cell_key]
    del result.intents[intent.client_id]
    if cell.order_id in (intent.client_id, None):
        cell = settled(cell, intent.side, intent.filled, market, retry_ms)
        # An orphan order of the cell keeps it until it has ended too: it sends none before, and it stays.
        left = [one for one in result.intents.values() if one.orphan and one.cell_key == cell.key]
        cell = holding_order(cell, left[0].side, left[0].client_id, cell.cycle) if left else cell
    result.cells[intent.cell_key] = cell
    result.touched.add(intent.cell_key)
    result.ended.append(intent)


def refuse(result: Folded, intent: Intent, market: Market, retry_ms: int, reason: RejectReason, now_ms: int) -> None:
    """End an order that the exchange refused; its cell sends none before `retry_ms`."""
    ended = {"state": IntentState.REJECTED, "note": reason.value, "ended_ms": now_ms}
    _end(result, intent.model_copy(update=ended), market, retry_ms)
    cell = result.cells[intent.cell_key]
    result.cells[cell.key] = cell.model_copy(update={"refusals": cell.refusals + 1, "refusal": reason})


def give_up(result: Folded, intent: Intent, market: Market, retry_ms: int, reason: RejectReason, now_ms: int) -> None:
    """End an order that was never sent; its cell sends none before `retry_ms`. That is no refusal by the exchange."""
    ended = {"state": IntentState.NEVER_PLACED, "note": reason.value, "ended_ms": now_ms}
    _end(result, intent.model_copy(update=ended), market, retry_ms)


def accept(result: Folded, intent: Intent) -> None:
    """Forget the cell's refusals: the exchange accepted its order."""
    cell = result.cells[intent.cell_key]
    if cell.refusals:
        result.cells[cell.key] = cell.model_copy(update={"refusals": 0, "refusal": None})
        result.touched.add(cell.key)
