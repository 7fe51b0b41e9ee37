"""Recovery: Redis is empty, the exchange is not. Trading of the symbol waits until its books stand again."""

import logging

from tasks.base.errors import LeaseLost, StateError
from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.funds.models import FundCode, Write
from tasks.ledger.steps import repair_funds
from tasks.tick.desk import Desk
from tasks.tick.evidence import prices_of_coins
from tasks.tick.fold import FILLS_CAP
from tasks.tick.models import SymbolState
from tasks.tick.rebuild import Rebuilt, rebuild

log = logging.getLogger(__name__)


async def recover(desk: Desk, market: Market, state: SymbolState) -> bool:
    """Rebuild the symbol from the exchange if it knows our orders; whether anything was rebuilt.

    The caller holds the symbol's lease. Raises LeaseLost, ExchangeUnavailable, StateError.
    """
    symbol = market.symbol
    orders = await desk.exchange.orders(symbol)
    if not orders:
        return False
    trades = await desk.exchange.trades(symbol, 0)
    prices = await prices_of_coins(desk.exchange, {trade.fee_currency for trade in trades if trade.fee}, market)
    allocated = from_units(state.share.allocated_units)
    rebuilt = rebuild(symbol, desk.settings.symbols[symbol], market, orders, trades, allocated, prices)
    if rebuilt is None:
        return False
    code, _ = await desk.allocator.release(symbol, state.fence, ids=[], writes=_writes(desk, symbol, rebuilt))
    if code is FundCode.STALE_FENCE:
        raise LeaseLost(symbol, state.fence)
    _, code = await repair_funds(desk.redis, desk.keys, list(desk.settings.symbols))
    if code is FundCode.CONFLICT:
        raise StateError(f"{symbol}: its books are rebuilt, the pot could not be set right; run `gridflow funds audit`")
    await desk.allocator.rebalance_if_needed(force=True, reason="recovery")
    facts = {"symbol": symbol, "orders": len(orders), "fills": len(rebuilt.fills), "open": len(rebuilt.intents)}
    log.warning("rebuilt from the exchange", extra=facts)
    return True


def _writes(desk: Desk, symbol: str, rebuilt: Rebuilt) -> list[Write]:
    keys = desk.keys
    out = [
        Write(key=keys.grid(symbol), verb="SET", value=rebuilt.grid.model_dump_json()),
        Write(key=keys.book(symbol), verb="SET", value=rebuilt.book.model_dump_json()),
    ]
    hashes = (
        (keys.cells(symbol), {key: cell.model_dump_json() for key, cell in rebuilt.cells.items()}),
        (keys.intents(symbol), {key: intent.model_dump_json() for key, intent in rebuilt.intents.items()}),
        (keys.slots(symbol), {slot: str(cycle) for slot, cycle in rebuilt.slots.items()}),
    )
    for key, fields in hashes:
        out += [Write(key=key, verb="HSET", field=name, value=value) for name, value in fields.items()]
    for fill in rebuilt.fills[-FILLS_CAP:]:
        out.append(Write(key=keys.seen(symbol), verb="ZADD", field=str(fill.at_ms), value=fill.trade_id))
        out.append(Write(key=keys.fills(symbol), verb="LPUSH", field=str(FILLS_CAP), value=fill.model_dump_json()))
    return out
