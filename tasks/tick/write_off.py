"""Writing off what a symbol holds and can no longer sell, for instance because it was delisted."""

import logging
from collections.abc import Mapping
from decimal import Decimal

from tasks.base.clock import to_ms
from tasks.base.errors import LeaseLost, StateError
from tasks.base.events import EventKind, publish_event
from tasks.base.money import ZERO, plain
from tasks.exchange.models import Frozen
from tasks.funds.models import FundCode
from tasks.orders.evidence import prices_of_all
from tasks.orders.models import IntentState
from tasks.tick import store
from tasks.tick.desk import Desk
from tasks.tick.fees import charges, pay_fees, value_pending
from tasks.tick.fold import Folded
from tasks.tick.listing import is_listed
from tasks.tick.models import SymbolState
from tasks.tick.records import dropped_cells, slot_writes, writes
from tasks.tick.retiring import written_off
from tasks.tick.sharing import share_pot

log = logging.getLogger(__name__)


class WriteOff(Frozen):
    """What was written off: the base amount, and its cost in quote."""

    symbol: str
    qty: Decimal
    cost: Decimal


async def write_off(desk: Desk, symbol: str, owner: str) -> WriteOff:
    """Write off everything that the symbol holds; its cost is booked as a loss in grid profit.

    Fees that its cells still have to pay are taken first. The orders of a symbol that the exchange does not list end,
    their money is released, and its empty cells go. Raises StateError where a worker ticks the symbol now, where it
    holds nothing, where the worth of a fee is not known, and where it can still be sold: the exchange lists it, and it
    is configured or has open orders. Raises ExchangeUnavailable where the price of a fee coin cannot be read.
    """
    await desk.follow_settings()
    listed = await is_listed(desk, symbol)
    state, _ = await store.begin(desk.redis, keys=desk.keys, symbol=symbol, owner=owner, lease_ms=desk.lease_ms)
    if state is None:
        raise StateError(f"a worker is ticking {symbol} now. Try again in a few seconds")
    try:
        _refuse(desk, symbol, state, listed)
        coins = {fee.coin for fee in state.book.unvalued.values()}
        done = await _book(desk, symbol, state, await prices_of_all(desk.exchange, coins, symbol))
    finally:
        await store.end_lease(desk.redis, keys=desk.keys, symbol=symbol, owner=owner)
    await share_pot(desk, "symbol left")
    facts = {"symbol": symbol, "qty": plain(done.qty), "cost": plain(done.cost)}
    log.warning("written off", extra=facts)
    await publish_event(desk.redis, desk.keys, EventKind.WRITTEN_OFF, facts)
    return done


def _refuse(desk: Desk, symbol: str, state: SymbolState, listed: bool) -> None:
    holds = any(cell.qty or cell.basis for cell in state.cells.values())
    if not holds and (listed or not state.cells):
        raise StateError(f"{symbol} holds nothing: there is nothing to write off")
    waiting = sorted(fee.source for fee in state.fee_queue.values() if fee.worth is None)
    if waiting:
        raise StateError(
            f"{symbol} pays fees of {waiting[0]} whose worth is not known yet. Wait for the next tick of {waiting[0]}, "
            "or write that symbol off first where it is not listed any more"
        )
    if not listed:
        return
    if symbol in desk.settings.symbols:
        raise StateError(f"{symbol} is listed and configured. Remove it from the settings; it then sells what it holds")
    if state.intents:
        raise StateError(f"{symbol} is listed and has {len(state.intents)} open orders. Wait until they are filled")


async def _book(desk: Desk, symbol: str, state: SymbolState, coin_prices: Mapping[str, Decimal]) -> WriteOff:
    """In one script: value and pay fees, write off what the cells hold then, end a delisted symbol's orders."""
    keys, now_ms = desk.keys, to_ms(desk.clock())
    cells = {key: cell.model_copy(update={"order_id": None}) for key, cell in state.cells.items()}
    folded = Folded(book=state.book, cells=cells, intents={})
    value_pending(folded, coin_prices)
    pay_fees(folded, state.fee_queue, None, now_ms)
    holding = [key for key, cell in sorted(folded.cells.items()) if cell.qty or cell.basis]
    qty = sum((folded.cells[key].qty for key in holding), ZERO)
    cost = sum((folded.cells[key].basis for key in holding), ZERO)
    moves = written_off(folded, holding, now_ms)
    ended = {"state": IntentState.CANCELLED, "ended_ms": now_ms, "note": "written off"}
    folded.ended = [intent.model_copy(update=ended) for intent in state.intents.values()]
    slots = await store.order_slots(desk.redis, keys=keys, symbol=symbol)
    changes = writes(folded, keys, symbol)
    changes += dropped_cells(keys, symbol, sorted(state.cells))
    changes += slot_writes(slots, [], "", keys, symbol)
    code = await desk.allocator.record_trade(
        symbol,
        state.fence,
        fills=[*folded.moves, *moves],
        ended=[intent.client_id for intent in folded.ended],
        writes=changes,
        charges=charges(folded.fees, folded.valued),
    )
    if code in (FundCode.STALE_FENCE, FundCode.RESTARTED):
        raise LeaseLost(symbol, state.fence)
    return WriteOff(symbol=symbol, qty=qty, cost=cost)
