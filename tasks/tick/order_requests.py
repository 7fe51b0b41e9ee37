"""From planned orders to requests to the exchange, and from its answers back to the journal. Pure."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from tasks.base.errors import RejectReason
from tasks.base.unchecked import changed, unchecked
from tasks.exchange.models import Accepted, Grant, Market, OrderRequest, Placement, Rejected, Side, Unknown
from tasks.exchange.order_ids import Purpose
from tasks.funds.models import Reservation
from tasks.grid.models import Cell
from tasks.grid.plan_models import PlannedOrder
from tasks.orders.models import Intent, IntentState
from tasks.tick.fold import Folded, accept, give_up, refuse
from tasks.tick.slots import order_slot

log = logging.getLogger(__name__)
MOST_PER_BATCH = 50  # orders that are journalled and sent together; more would expire before they are sent
REJECTION_WAIT_MS = 30_000
MAX_WAIT_MS = 600_000
NEVER_SENT = frozenset({RejectReason.NOT_SENT, RejectReason.RATE_LIMITED})
_AT_ONCE = 2  # refusals in a row before the wait starts to double
# Shorter waits, where the refusal has nothing to do with the order itself.
_WAITS_MS = {RejectReason.WOULD_TAKE: 0, RejectReason.EXPIRED_REQUEST: 0, RejectReason.RATE_LIMITED: 5_000}


def batches(orders: Sequence[PlannedOrder]) -> list[Sequence[PlannedOrder]]:
    """The orders in groups of at most MOST_PER_BATCH; one empty group where there are none."""
    return [orders[first : first + MOST_PER_BATCH] for first in range(0, max(len(orders), 1), MOST_PER_BATCH)]


def must_wait(answers: Sequence[Placement]) -> bool:
    """Whether a batch could not be sent as a whole: the next ones would not be sent in time either."""
    return any(isinstance(answer, Rejected) and answer.reason in NEVER_SENT for answer in answers)


class Granted(NamedTuple):
    """A journalled order and its grant from the pot."""

    intent: Intent
    grant: Grant


def intent_of(order: PlannedOrder, symbol: str, now_ms: int) -> Intent:
    """The journal entry of a planned order, created now."""
    return unchecked(
        Intent,
        client_id=order.client_id,
        symbol=symbol,
        cell_key=order.cell_key,
        side=order.side,
        price=order.price,
        qty=order.qty,
        cycle=order.cycle,
        units=order.units,
        units_left=order.units,
        post_only=order.post_only,
        created_ms=now_ms,
    )


def reservation_of(intent: Intent, purpose: Purpose, cell: Cell) -> Reservation:
    """The reservation for what is left of an order. Its records are written exactly when the money is granted."""
    return Reservation(
        id=intent.client_id,
        slot=order_slot(intent.cell_key, purpose),
        sequence=intent.cycle,
        units=intent.units_left,
        intent=intent.model_dump_json(),
        cell_key=cell.key,
        cell=cell.model_dump_json(),
    )


def requests(granted: Sequence[Granted], valid_ms: int) -> list[OrderRequest]:
    """Requests that carry the time of their intents, so that the exchange refuses them once they are too old."""
    return [
        OrderRequest(
            grant=grant,
            client_id=intent.client_id,
            symbol=intent.symbol,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            post_only=intent.post_only,
            signed_at_ms=intent.created_ms,
            valid_ms=valid_ms,
        )
        for intent, grant in granted
    ]


def is_unconfirmed(answer: Placement) -> bool:
    """Whether the answer points to a problem with the exchange or the account, not with this one order."""
    return isinstance(answer, Unknown) or (isinstance(answer, Rejected) and answer.reason is RejectReason.OTHER)


def wait_after(reason: RejectReason, before: int, side: Side) -> int:
    """Ms until a cell whose order was refused, after `before` refusals in a row, sends the next one.

    A sell that was refused for want of base is planned at the next tick, with what is free then. A buy that would have
    taken waits no longer than REJECTION_WAIT_MS: the price allows it again at any moment.
    """
    if side is Side.SELL and reason is RejectReason.INSUFFICIENT_FUNDS and not before:
        return 0
    base = _WAITS_MS.get(reason, REJECTION_WAIT_MS)
    if before < _AT_ONCE:
        return base
    most = REJECTION_WAIT_MS if reason is RejectReason.WOULD_TAKE else MAX_WAIT_MS
    return int(min(max(base, 1_000) * 2 ** min(before - _AT_ONCE + 1, 20), most))


def outcome_of(
    intents: Sequence[Intent], answers: Sequence[Placement], folded: Folded, market: Market, now_ms: int
) -> Folded:
    """The journal after the exchange's answers, one for each of the `intents`.

    Accepted: the intent is open. Rejected or never sent: it ends, its money is freed. Unknown: it is looked up later.
    """
    outcome = Folded(book=folded.book, cells=folded.cells, intents=folded.intents)
    for intent, answer in zip(intents, answers, strict=True):
        fields = {"symbol": intent.symbol, "order": intent.client_id}
        if isinstance(answer, Accepted):
            outcome.changed.append(changed(intent, state=IntentState.OPEN, exchange_id=answer.order.exchange_id))
            accept(outcome, intent)
        elif isinstance(answer, Rejected) and answer.reason in NEVER_SENT:
            log.warning("order not sent; it is planned anew", extra=fields | {"reason": answer.reason.value})
            give_up(outcome, intent, market, now_ms + _WAITS_MS.get(answer.reason, 0), answer.reason, now_ms)
        elif isinstance(answer, Rejected):
            log.warning("order refused by the exchange", extra=fields | {"reason": answer.reason.value})
            wait = wait_after(answer.reason, outcome.cells[intent.cell_key].refusals, intent.side)
            refuse(outcome, intent, market, now_ms + wait, answer.reason, now_ms)
        else:
            log.warning("order outcome unknown", extra=fields)
            note = {"state": IntentState.UNKNOWN, "note": answer.detail}
            outcome.changed.append(intent.model_copy(update=note))
    for intent in outcome.changed:
        outcome.intents[intent.client_id] = intent
    return outcome
