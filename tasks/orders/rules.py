"""Reconciling the journal with what the exchange shows. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from tasks.base.money import ZERO
from tasks.base.unchecked import changed
from tasks.exchange.models import Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import own_order_id
from tasks.grid.sizing import reserve_units
from tasks.orders.models import Evidence, Intent, IntentState

TRADE_OVERLAP_MS = 60_000
TRADE_REACH_MS = 43_200_000  # trades are read from so long before a new order, in case one of ours was missed
MAX_LOOKUPS = 20  # orders of unexplained trades looked up in one tick
MAX_CLOCK_DIFFERENCE_MS = 600_000  # between our clock (intents) and the exchange's (trades)
FORGOTTEN_AFTER_MS = 3_600_000  # exchanges forget orders that were cancelled unfilled, OKX after two hours


def resting_orders(intents: Iterable[Intent], open_orders: Iterable[Order]) -> dict[str, Order | None]:
    """Each intent's order among the open ones, by client id; found by exchange id or client id."""
    orders = list(open_orders)
    by_client = {order.client_id: order for order in reversed(orders)}
    by_exchange = {order.exchange_id: order for order in reversed(orders)}
    return {
        intent.client_id: by_client.get(intent.client_id) or by_exchange.get(intent.exchange_id or "")
        for intent in intents
    }


def may_have_changed(intent: Intent, resting: Order | None) -> bool:
    """Whether the order may have changed since its journal entry was written."""
    return resting is None or resting.filled != intent.filled


def trades_since(intents: Sequence[Intent], cursor_ms: int) -> int:
    """The time (ms) from which trades must be read so that no fill of these intents is missed.

    An order known since before the cursor cannot have unread trades older than the cursor, unless more of it is
    filled than its known trades say. TRADE_OVERLAP_MS covers late reports and clock differences. Trades since the
    cursor are read as well, as far back as TRADE_REACH_MS: they may be of an order of ours that no journal has.
    """
    first = min(_unread_from(intent, cursor_ms) for intent in intents)
    return min(first, max(cursor_ms, first - TRADE_REACH_MS)) - TRADE_OVERLAP_MS


def _unread_from(intent: Intent, cursor_ms: int) -> int:
    if intent.exchange_id is None or intent.behind:
        return intent.created_ms
    return max(intent.created_ms, cursor_ms)


def own_trades(intent: Intent, exchange_id: str | None, trades: Iterable[Trade]) -> list[Trade]:
    """The intent's trades that are not booked yet, each once, oldest first."""
    fresh: dict[str, Trade] = {}
    for trade in trades:
        mine = trade.client_id == intent.client_id or (exchange_id is not None and trade.exchange_id == exchange_id)
        if mine and trade.trade_id not in intent.trade_ids:
            fresh.setdefault(trade.trade_id, trade)
    return sorted(fresh.values(), key=lambda trade: (trade.at_ms, trade.trade_id))


def needs_lookup(intent: Intent, resting: Order | None, trades: Iterable[Trade]) -> bool:
    """Whether the order must be looked up by id: it does not rest, and its known trades do not fill it."""
    if resting is not None:
        return False
    fresh = own_trades(intent, intent.exchange_id, trades)
    return intent.filled + sum((trade.qty for trade in fresh), ZERO) < intent.qty


def amended(intent: Intent, order: Order | None, taker_fee: Decimal) -> Intent:
    """The entry of an order whose price or amount was changed on the exchange: both are the order's.

    What is left of an open order can cost that much from now on. Units of an order that has ended stay as they are.
    """
    if order is None or order.price <= 0 or (order.price == intent.price and order.qty == intent.qty):
        return intent
    changes: dict[str, Decimal | int] = {"price": order.price, "qty": order.qty}
    if intent.side is Side.BUY and order.status is OrderStatus.OPEN:
        left = max(order.qty - intent.filled, ZERO)
        changes["units"] = reserve_units(order.price, order.qty, taker_fee)
        changes["units_left"] = reserve_units(order.price, left, taker_fee) if left else 0
    return intent.model_copy(update=changes)


def unexplained_orders(
    intents: Collection[Intent], found: Iterable[Order | None], trades: Iterable[Trade], account: str
) -> list[Trade]:
    """The trades of orders that are neither in the journal nor in `found`; those that carry an id of others are not."""
    known = {intent.exchange_id for intent in intents} | {order.exchange_id for order in found if order is not None}
    names = {intent.client_id for intent in intents}
    return [
        trade
        for trade in trades
        if trade.exchange_id not in known
        and (trade.client_id is None or (trade.client_id not in names and own_order_id(trade.client_id, account)))
    ]


def possible_orders(intent: Intent, trades: Iterable[Trade], valid_ms: int) -> list[str]:
    """Exchange ids of orders that may be the intent's, the nearest in time first.

    They have its side and its price or better. They filled at once, so within `valid_ms` of the intent: any other
    order is still found by its client id.
    """
    first_ms, last_ms = intent.created_ms - MAX_CLOCK_DIFFERENCE_MS, intent.created_ms + valid_ms
    last_ms += MAX_CLOCK_DIFFERENCE_MS
    found: dict[str, None] = {}
    for trade in sorted(trades, key=lambda trade: abs(trade.at_ms - intent.created_ms)):
        better = trade.price <= intent.price if intent.side is Side.BUY else trade.price >= intent.price
        fits = trade.side is intent.side and better and trade.qty <= intent.qty
        if fits and first_ms <= trade.at_ms <= last_ms:
            found[trade.exchange_id] = None
    return list(found)


def lookup_order(candidates: Iterable[Sequence[str]], unknown: Iterable[Trade]) -> list[str]:
    """Exchange ids to look up: the likeliest of each doubtful order, then the next ones, then the rest."""
    ranked = sorted((rank, name) for ids in candidates for rank, name in enumerate(ids))
    return list(dict.fromkeys([*(name for _, name in ranked), *(trade.exchange_id for trade in unknown)]))


def settled_lookups(
    looked_up: Mapping[str, Order | None], candidates: Mapping[str, Sequence[str]], answers: Mapping[str, Order | None]
) -> dict[str, Order | None]:
    """The lookups by client id after those by exchange id (`answers`).

    `candidates`: exchange ids by client id of an order in doubt. It stays in doubt, and is left out, while one of them
    was not looked up: that is no proof that it does not exist.
    """
    by_name = {order.client_id: order for order in answers.values() if order is not None}
    out = dict(looked_up)
    for client_id, exchange_ids in candidates.items():
        if client_id in by_name:
            out[client_id] = by_name[client_id]
        elif any(one not in answers for one in exchange_ids):
            del out[client_id]
    return out


def ended_unfilled(intent: Intent) -> Order:
    """The order of an intent of which the exchange says only that it ended long ago without a fill."""
    return Order(
        exchange_id=intent.exchange_id or "",
        client_id=intent.client_id,
        symbol=intent.symbol,
        side=intent.side,
        price=intent.price,
        qty=intent.qty,
        filled=ZERO,
        status=OrderStatus.CANCELLED,
        at_ms=intent.created_ms,
    )


def advance(intent: Intent, evidence: Evidence, now_ms: int, protection_ms: int) -> tuple[Intent, list[Trade]]:
    """The journal entry after the evidence, and the trades to book now. `now_ms`: when the exchange was asked.

    An order ends only on proof:
    - filled: by its trades;
    - cancelled: the exchange says so, and every trade it reports is known;
    - never placed: no order under its id, no trade, and the protection window is over (its request has expired);
    - cancelled long ago: accepted once, and for FORGOTTEN_AFTER_MS neither resting, nor found, nor traded.
    """
    if is_unchanged(intent, evidence):
        return intent, []
    order = evidence.resting or evidence.found
    exchange_id = order.exchange_id if order else intent.exchange_id
    fresh = own_trades(intent, exchange_id, evidence.trades)
    filled = intent.filled + sum([trade.qty for trade in fresh], ZERO)
    state = _state(intent, evidence, filled > 0, filled >= intent.qty, order is not None and filled >= order.filled)
    missing_ms = _missing_since(intent, evidence, now_ms)
    if state is IntentState.UNKNOWN and filled == 0:
        state = _state_of_missing(intent, evidence, missing_ms, now_ms, protection_ms)
    updated = changed(
        intent,
        state=state,
        exchange_id=exchange_id,
        filled=filled,
        quote_filled=intent.quote_filled + sum([trade.price * trade.qty for trade in fresh], ZERO),
        trade_ids=(*intent.trade_ids, *[trade.trade_id for trade in fresh]),
        behind=intent.behind if order is None else filled < order.filled,
        missing_ms=missing_ms,
        ended_ms=now_ms if state.ended else None,
    )
    return updated, fresh


def is_unchanged(intent: Intent, evidence: Evidence) -> bool:
    """Whether the order rests as the journal has it, with nothing to book: the usual case."""
    order = evidence.resting
    return (
        order is not None
        and not evidence.trades
        and order.exchange_id == intent.exchange_id
        and order.filled == intent.filled
        and intent.state is (IntentState.PARTIAL if intent.filled > 0 else IntentState.OPEN)
        and not intent.behind
        and intent.missing_ms is None
    )


def news(intents: Mapping[str, Intent], evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The evidence, by client id, of the orders that do not rest as the journal has them."""
    return {
        client_id: shown
        for client_id, intent in intents.items()
        if (shown := evidence.get(client_id)) is not None and not is_unchanged(intent, shown)
    }


def _state(intent: Intent, evidence: Evidence, touched: bool, full: bool, complete: bool) -> IntentState:
    if full:
        return IntentState.FILLED
    if evidence.resting is not None:
        return IntentState.PARTIAL if touched else IntentState.OPEN
    if evidence.found is None:
        return IntentState.UNKNOWN if evidence.looked_up else intent.state
    ended = evidence.found.status in (OrderStatus.CANCELLED, OrderStatus.REJECTED)
    if ended and complete:
        return IntentState.CANCELLED
    return IntentState.PARTIAL if touched else IntentState.OPEN


def _missing_since(intent: Intent, evidence: Evidence, now_ms: int) -> int | None:
    """Since when (ms) lookups of an accepted order have found nothing; unchanged where none was made."""
    if evidence.resting is not None or evidence.found is not None or intent.exchange_id is None:
        return None
    if not evidence.looked_up or intent.missing_ms is not None:
        return intent.missing_ms
    return now_ms


def _state_of_missing(
    intent: Intent, evidence: Evidence, missing_ms: int | None, now_ms: int, protection_ms: int
) -> IntentState:
    """State of an order of which the exchange shows nothing: unknown until enough time has passed."""
    if not evidence.looked_up or evidence.found is not None or evidence.resting is not None:
        return IntentState.UNKNOWN
    if intent.exchange_id is None:
        return IntentState.NEVER_PLACED if now_ms - intent.created_ms > protection_ms else IntentState.UNKNOWN
    forgotten = missing_ms is not None and now_ms - missing_ms > FORGOTTEN_AFTER_MS
    return IntentState.CANCELLED if forgotten else IntentState.UNKNOWN
