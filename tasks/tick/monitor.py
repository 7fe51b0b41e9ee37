"""The minute's look at the pot: the real balance guard, and rebalancing when usage drifts apart."""

import logging

from tasks.base.money import ZERO, from_units
from tasks.base.settings import Settings
from tasks.exchange.models import Balance
from tasks.funds.models import RebalanceReport
from tasks.ledger.store import last_profits
from tasks.tick.desk import Desk

log = logging.getLogger(__name__)


async def look_after(desk: Desk, settings: Settings) -> RebalanceReport:
    """Guard the real balance, then rebalance if usage spreads by more than 0.3."""
    await guard_balance(desk, settings)
    return await rebalance(desk, settings, force=False, reason="usage spread")


async def rebalance(desk: Desk, settings: Settings, *, force: bool, reason: str) -> RebalanceReport:
    """Share the pot anew, with the profits that the dynamic strategy scores.

    A pot that Redis has lost is left to the next tick, which rebuilds what the exchange knows of it first.
    """
    profits = await last_profits(desk.redis, desk.keys, list(settings.symbols))
    return await desk.allocator.rebalance_if_needed(force=force, reason=reason, profits=profits, only_open=True)


async def guard_balance(desk: Desk, settings: Settings) -> int:
    """Stop new grants while the exchange holds less quote than the pot promises; units short (0: enough)."""
    reserved = (await desk.allocator.get_global_status_summary()).reserved_units
    held = (await desk.exchange.balances()).get(settings.quote) or Balance(free=ZERO, locked=ZERO)
    reserved = max(reserved, (await desk.allocator.get_global_status_summary()).reserved_units)  # it moves meanwhile
    own_orders = min(held.locked, from_units(reserved))  # what other orders bind is not there for ours
    short, before = await desk.allocator.guard(held.free + own_orders)
    if short and not before:
        log.error("the exchange holds less than promised: no new grants", extra={"short": str(from_units(short))})
    elif before and not short:
        log.info("the exchange holds enough again: grants go on")
    return short
