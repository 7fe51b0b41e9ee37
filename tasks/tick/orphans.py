"""Orders of ours that the journal does not have, and orders that were changed by hand: how both are journalled. Pure.

An orphan is journalled before anything is done about it, with what it can still cost, and then cancelled. What it
filled is booked as for any order. A sell is kept where its cell holds that amount and has no order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import OrderId, Purpose, own_order_id
from tasks.funds.models import Reservation
from tasks.grid.cells import holding_order
from tasks.grid.models import Cell
from tasks.grid.sizing import reserve_units
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.orders.rules import amended
from tasks.tick.models import SymbolState
from tasks.tick.order_requests import reservation_of
from tasks.tick.rebuild import cells_of_other_grids

_RESTING = (IntentState.OPEN, IntentState.PARTIAL)


class Orphan(NamedTuple):
    """An order of ours without a journal entry; those of its trades that are in the books, and those that are not."""

    name: OrderId
    order: Order
    booked: tuple[Trade, ...] = ()
    fresh: tuple[Trade, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """What the exchange shows of it."""
        if self.order.status is OrderStatus.OPEN:
            return Evidence(resting=self.order, trades=self.fresh)
        return Evidence(looked_up=True, found=self.order, trades=self.fresh)


@dataclass
class Adoption:
    """The symbol's state and evidence with everything journalled that `items` journals.

    `orphans`: client ids, kept or not. `relinked`: client ids of journalled orders that their cells had lost.
    """

    state: SymbolState
    evidence: dict[str, Evidence]
    items: list[Reservation] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    relinked: list[str] = field(default_factory=list)


def unjournalled(state: SymbolState, orders: Sequence[Order], account: str) -> list[Order]:
    """Orders with this account's tag and without a journal entry. Another account's orders are left alone.

    A level that the grid in force does not have was never ordered by us.
    """
    journal = state.intents
    known = {intent.exchange_id for intent in journal.values()}
    others = [order for order in orders if order.client_id not in journal and order.exchange_id not in known]
    return [order for order in others if _is_ours(own_order_id(order.client_id, account), state)]


def _is_ours(name: OrderId | None, state: SymbolState) -> bool:
    if name is None:
        return False
    grid = state.grid.by_id(name.grid_id) if state.grid else None
    return grid is None or name.cell_key in state.cells or grid.has_had(name.level)


def orphan_of(order: Order, account: str, trades: Sequence[Trade], booked: Collection[str]) -> Orphan | None:
    """The order, just looked up, as an orphan; None where it has ended and the books have every trade of it.

    `booked`: ids of trades in the books.
    """
    name = own_order_id(order.client_id, account)
    own = list({trade.trade_id: trade for trade in trades if trade.exchange_id == order.exchange_id}.values())
    known = tuple(trade for trade in own if trade.trade_id in booked)
    booked_qty = sum((trade.qty for trade in known), ZERO)
    unbooked = order.qty if order.status is OrderStatus.OPEN else order.filled
    if name is None or unbooked <= booked_qty or not (order.price > 0 or own):
        return None
    return Orphan(name, order, known, tuple(trade for trade in own if trade.trade_id not in booked))


def adopt(state: SymbolState, evidence: Mapping[str, Evidence], orphans: Sequence[Orphan], market: Market) -> Adoption:
    """Journal changed orders as the exchange has them, and orphans."""
    result = Adoption(state, dict(evidence))
    cells, intents = dict(state.cells), dict(state.intents)
    more = 0
    for client_id, intent in state.intents.items():
        shown = evidence.get(client_id, Evidence())
        order = shown.resting or shown.found
        changed = amended(intent, order, market.taker_fee)
        if changed is intent:
            continue
        intents[client_id] = changed
        if order is not None and order.status is OrderStatus.OPEN:
            more += changed.units_left - intent.units_left
            result.items.append(reservation_of(changed, Purpose(intent.side.value), cells[intent.cell_key]))
    for intent in _unlinked(intents.values(), cells):
        cell = cells[intent.cell_key]
        if intent.side is Side.SELL and cell.qty >= intent.qty - intent.filled:
            cells[cell.key] = holding_order(cell, intent.side, intent.client_id, intent.cycle)
        else:
            intents[intent.client_id] = intent.model_copy(update={"orphan": True})
        linked = intents[intent.client_id]
        result.items.append(reservation_of(linked, Purpose(intent.side.value), cells[intent.cell_key]))
        result.relinked.append(intent.client_id)
    for orphan in orphans:
        name, order = orphan.name, orphan.order
        cells |= cells_of_other_grids({order.exchange_id: (name, order)}, set(cells))
        cell = cells[name.cell_key]
        intent = _intent(orphan, market, kept=_is_kept(orphan, cell))
        if cell.order_id is None:
            cell = holding_order(cell, order.side, intent.client_id, name.cycle)
        cells[cell.key], intents[intent.client_id] = cell, intent
        more += intent.units_left
        result.items.append(reservation_of(intent, name.purpose, cell))
        result.evidence[intent.client_id] = orphan.evidence
        result.orphans.append(intent.client_id)
    if not result.items and intents == state.intents:
        return result
    share = state.share.model_copy(update={"reserved_units": state.share.reserved_units + more})
    changes = {"cells": cells, "intents": intents, "share": share, "pool_free_units": state.pool_free_units - more}
    result.state = state.model_copy(update=changes)
    return result


def _unlinked(intents: Iterable[Intent], cells: Mapping[str, Cell]) -> list[Intent]:
    """Resting orders whose cell has no order: Redis went back while its books were compared with the exchange.

    The cell would get a second order.
    """
    resting = [intent for intent in intents if intent.state in _RESTING and not intent.orphan]
    return [intent for intent in resting if intent.cell_key in cells and cells[intent.cell_key].order_id is None]


def _is_kept(orphan: Orphan, cell: Cell) -> bool:
    """Whether the order may stay: a sell whose cell holds what is left of it, and has no order."""
    left = orphan.order.qty - _total(orphan.booked)
    return orphan.order.side is Side.SELL and cell.order_id is None and cell.qty >= left


def _total(trades: Sequence[Trade]) -> Decimal:
    return sum((trade.qty for trade in trades), ZERO)


def _intent(orphan: Orphan, market: Market, *, kept: bool) -> Intent:
    """The journal entry of an orphan: what is booked of it, and what the rest can cost."""
    name, order, filled = orphan.name, orphan.order, _total(orphan.booked)
    price = order.price if order.price > 0 else (*orphan.fresh, *orphan.booked)[0].price
    left = (order.qty if order.status is OrderStatus.OPEN else order.filled) - filled
    is_buy = order.side is Side.BUY
    return Intent(
        client_id=order.client_id,
        symbol=order.symbol,
        cell_key=name.cell_key,
        side=order.side,
        price=price,
        qty=order.qty,
        cycle=name.cycle,
        units=reserve_units(price, order.qty, market.taker_fee) if is_buy else 0,
        units_left=reserve_units(price, left, market.taker_fee) if is_buy else 0,
        post_only=False,
        created_ms=order.at_ms,
        state=IntentState.PARTIAL if filled else IntentState.OPEN,
        exchange_id=order.exchange_id,
        filled=filled,
        quote_filled=sum((trade.price * trade.qty for trade in orphan.booked), ZERO),
        trade_ids=tuple(trade.trade_id for trade in orphan.booked),
        note="found without a journal entry",
        orphan=not kept,
    )
