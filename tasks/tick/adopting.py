"""Looks up orders of ours that the journal does not have, and journals them and orders that were changed by hand."""

import logging
from collections.abc import Sequence

from tasks.base.errors import RedisRestarted
from tasks.base.events import EventKind, publish_event
from tasks.exchange.models import Market, Order, OrderStatus
from tasks.orders.evidence import Gathered, look_up_orders
from tasks.orders.rules import MAX_LOOKUPS, TRADE_OVERLAP_MS
from tasks.tick import store
from tasks.tick.desk import Desk
from tasks.tick.lease import check_code
from tasks.tick.lost_orders import lost_orders
from tasks.tick.models import SymbolState
from tasks.tick.orphans import Adoption, Orphan, adopt, orphan_of, unjournalled

log = logging.getLogger(__name__)


async def adopt_orders(
    desk: Desk,
    market: Market,
    state: SymbolState,
    open_orders: Sequence[Order],
    gathered: Gathered,
) -> Adoption:
    """Journal orphans, and orders whose price or amount was changed on the exchange. Costs nothing where there is none.

    Raises RedisRestarted where an order was never journalled: Redis went back in time. Raises LeaseLost and
    ExchangeUnavailable.
    """
    account = desk.keys.account
    listed = unjournalled(state, open_orders, account)
    ours = [*listed, *unjournalled(state, gathered.orphans, account)]
    orphans: list[Orphan] = []
    if ours:
        await _refuse_lost(desk, market.symbol, state, ours)
        orphans = await look_up_orphans(desk, market.symbol, listed, gathered.orphans)
    found = adopt(state, gathered.evidence, orphans, market)
    if found.items:
        code = await desk.allocator.adopt(market.symbol, state.fence, found.items)
        check_code(code, market.symbol, state.fence, account)
        await _report(desk, found)
    return found


async def _refuse_lost(desk: Desk, symbol: str, state: SymbolState, ours: Sequence[Order]) -> None:
    """Raise RedisRestarted where one of these orders was never journalled. A paper exchange goes back with Redis."""
    if not desk.exchange.apart_from_redis:
        return
    slots = await store.order_slots(desk.redis, keys=desk.keys, symbol=symbol)
    if lost_orders(ours, state.intents.keys(), slots, desk.keys.account):
        await store.demand_comparison(desk.redis, keys=desk.keys)
        raise RedisRestarted(desk.keys.account)


async def look_up_orphans(desk: Desk, symbol: str, listed: Sequence[Order], found: Sequence[Order]) -> list[Orphan]:
    """Those of the orders that are open or have trades which are not in the books.

    `listed`: among the open orders. That reading may be older than the journal, so each is looked up.
    `found`: looked up already.
    """
    known = {order.exchange_id for order in found}
    to_look_up = [order.exchange_id for order in listed if order.exchange_id not in known][:MAX_LOOKUPS]
    orders = [*found, *(await look_up_orders(desk.exchange, symbol, to_look_up))]
    filled = [order for order in orders if order.filled]
    trades = []
    if filled:
        trades = await desk.exchange.trades(symbol, min(order.at_ms for order in filled) - TRADE_OVERLAP_MS)
    ids = [trade.trade_id for trade in trades]
    booked = await store.booked_trades(desk.redis, desk.keys, symbol, ids) if ids else set()
    each = (orphan_of(order, desk.keys.account, trades, booked) for order in orders)
    return [orphan for orphan in each if orphan is not None]


async def _report(desk: Desk, found: Adoption) -> None:
    for client_id in found.orphans:
        intent = found.state.intents[client_id]
        shown = found.evidence[client_id]
        order = shown.resting or shown.found
        facts = {
            "symbol": intent.symbol,
            "id": client_id,
            "side": intent.side.value,
            "price": str(intent.price),
            "qty": str(intent.qty),
            "filled": str(order.filled if order else intent.filled),
            "open": order is not None and order.status is OrderStatus.OPEN,
            "kept": not intent.orphan,
        }
        log.error("an order of ours had no journal entry: it was journalled", extra=facts | {"order": client_id})
        await publish_event(desk.redis, desk.keys, EventKind.ORPHAN_ORDER, facts)
    for item in found.items:
        if item.id not in found.orphans:
            intent = found.state.intents[item.id]
            facts = {"symbol": intent.symbol, "order": item.id, "price": str(intent.price), "qty": str(intent.qty)}
            if item.id in found.relinked:
                log.error("a resting order had no cell", extra=facts | {"kept": not intent.orphan})
            else:
                log.warning("an order was changed on the exchange; the journal follows it", extra=facts)
