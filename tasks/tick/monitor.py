"""Checks the pot each minute: the exchange's balance, and the triggers of a rebalance."""

import logging
from collections.abc import Mapping

from tasks.base.clock import to_ms
from tasks.base.money import ZERO, from_units, units_down
from tasks.exchange.models import Balance
from tasks.funds.models import RebalanceReport
from tasks.ledger.base_guard import Holding, must_have_ticked
from tasks.ledger.quote_guard import QuoteLook, judge
from tasks.ledger.store import read_holdings
from tasks.tick.active_symbols import active_symbols
from tasks.tick.base_watch import guard_base
from tasks.tick.desk import Desk
from tasks.tick.sharing import share_pot

log = logging.getLogger(__name__)


async def run_monitor(desk: Desk) -> RebalanceReport:
    """Check the exchange's balance, then rebalance if the operator's inputs changed or a trigger fires."""
    await guard_balance(desk)
    return await rebalance(desk, force=False, reason="monitor")


async def rebalance(desk: Desk, *, force: bool, reason: str) -> RebalanceReport:
    """Share the pot again by the settings in force. Raises StateError where this process cannot trade by them.

    Does nothing where Redis has lost the pot: the next tick rebuilds it from the exchange.
    """
    await desk.follow_settings()
    report = await share_pot(desk, reason, force=force, only_open=True)
    if force:
        await desk.redis.set(desk.keys.last_rebalance, report.model_dump_json())
    return report


async def guard_balance(desk: Desk) -> int:
    """Stop new grants while the exchange surely holds less quote than is promised. Returns the missing units.

    The same balance is compared with the base that the cells hold.
    """
    at_ms, symbols = to_ms(desk.clock()), await active_symbols(desk)
    pot = await desk.allocator.get_global_status_summary()
    holdings = await read_holdings(desk.redis, desk.keys, symbols)  # first: a buy that fills meanwhile is no fault
    balances = await desk.exchange.balances()
    held = balances.get(desk.settings.quote) or Balance(free=ZERO, locked=ZERO)
    after = await desk.allocator.get_global_status_summary()
    reserved = max(pot.reserved_units, after.reserved_units)  # it may change while the balance is read
    own_orders = min(held.locked, from_units(reserved))  # quote locked by other orders is not available to us
    look = QuoteLook(
        at_ms=at_ms,
        pool=pot.pool_units,
        promised=pot.pool_units - pot.used_units,
        held=units_down(held.free + own_orders),
        sold={symbol: own.sold for symbol, own in holdings.items()},
    )
    short = await _guard_quote(desk, look, after.short_units, holdings)
    await guard_base(desk, holdings, balances, at_ms)
    return short


async def _guard_quote(desk: Desk, look: QuoteLook, was_short: int, holdings: Mapping[str, Holding]) -> int:
    read = str(await desk.redis.get(desk.keys.quote_watch) or "")
    known = QuoteLook.model_validate_json(read) if read else None
    found = judge(known, was_short, look, must_have_ticked(holdings, desk.markets.unlisted))
    first = found.first.model_dump_json() if found.first else ""
    short, before = await desk.allocator.guard(found.short_units, look.promised, read, first)
    if short and not before:
        facts = {"short": str(from_units(short))}
        log.error("the exchange holds less quote than is committed: no new grants", extra=facts)
    elif before and not short:
        log.info("the exchange holds enough quote again: grants resume")
    return short
