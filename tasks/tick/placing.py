"""What placing the planned orders needs: a batch is journalled and funded, and what cannot leave in time is put off."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.base.money import plain
from tasks.exchange.models import Placement
from tasks.funds.models import FundCode
from tasks.grid.cells import with_order
from tasks.grid.plan_models import IdleReason, PlannedOrder
from tasks.orders.models import Intent
from tasks.tick.decision import Decision
from tasks.tick.desk import Desk
from tasks.tick.lease import check_code
from tasks.tick.order_requests import Granted, intent_of, reservation_of

log = logging.getLogger(__name__)


@dataclass
class Placed:
    """What was journalled, and the exchange's answers, one for each. `refused`: by the pot, cell key → code."""

    intents: list[Intent] = field(default_factory=list)
    answers: list[Placement] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def put_off(decision: Decision, batches: Sequence[Sequence[PlannedOrder]]) -> None:
    """Note why the cells of these orders have none: they are planned again at the next tick."""
    waiting = {order.cell_key: IdleReason.RATE_LIMITED for orders in batches for order in orders}
    reasons = {**decision.plan.idle_reasons, **waiting}
    decision.plan = decision.plan.model_copy(update={"idle_reasons": reasons})


def _log_blocked(intent: Intent, reason: str) -> None:
    """Once for each change of the reason. The script counts each refusal."""
    facts = {"symbol": intent.symbol, "side": intent.side.value, "reason": reason, "order": intent.client_id}
    amounts = {"amount": plain(intent.price * intent.qty), "price": plain(intent.price), "qty": plain(intent.qty)}
    log.warning("Trade blocked", extra=facts | amounts)


async def reserve_batch(
    desk: Desk, decision: Decision, orders: Sequence[PlannedOrder], refused: dict[str, str]
) -> list[Granted]:
    """Journal and fund a batch. Returns the granted orders; adds the refusals to `refused`, by cell key."""
    state, folded = decision.readings.state, decision.folded
    symbol = state.share.symbol
    intents = [intent_of(order, symbol, desk.now_ms) for order in orders]
    cells = [with_order(folded.cells[order.cell_key], order) for order in orders]
    planned = zip(orders, intents, cells, strict=True)
    answers = await desk.allocator.reserve(
        symbol, state.fence, [reservation_of(intent, order.purpose, cell) for order, intent, cell in planned]
    )
    granted = []
    for intent, cell, answer in zip(intents, cells, answers, strict=True):
        check_code(answer.code, symbol, state.fence, desk.keys.account)
        if answer.grant is not None:
            granted.append(Granted(intent, answer.grant))
            folded.cells[cell.key] = cell
            folded.intents[intent.client_id] = intent
        elif answer.code is not FundCode.ALREADY:
            refused[cell.key] = answer.code.name
            if state.last is None or state.last.refused.get(cell.key) != answer.code.name:
                _log_blocked(intent, answer.code.name)
    return granted
