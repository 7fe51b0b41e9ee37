"""Why a cell does nothing, in words, and what would wake it. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from tasks.grid.plan_models import IdleReason


class Reason(NamedTuple):
    """A code of `IdleReason`, in words."""

    why: str
    wakes: str


REASONS: Mapping[IdleReason, Reason] = {
    IdleReason.ABOVE_PRICE: Reason("its buy price is above the market", "the price rises above its buy price"),
    IdleReason.SYMBOL_LIMIT: Reason("the symbol's allocation is used up", "a sale, or a larger allocation"),
    IdleReason.GRID_LIMIT: Reason(
        "its grid's part of the symbol's allocation is used up", "a sale in this grid, or a larger weight"
    ),
    IdleReason.GLOBAL_LIMIT: Reason("the pool is used up", "a sale of any symbol, or more funds"),
    IdleReason.PAUSED: Reason("new buys are paused", "gridflow resume"),
    IdleReason.STALE_PRICE: Reason("the newest price is too old to buy on", "a fresh price from the exchange"),
    IdleReason.STOPPED: Reason("trading is stopped", "gridflow resume"),
    IdleReason.BELOW_MINIMUM: Reason("its order would be below the exchange's minimum", "a larger size or allocation"),
    IdleReason.ABOVE_MAXIMUM: Reason("its order would be above the exchange's maximum", "a smaller size"),
    IdleReason.TOO_FAR: Reason("the exchange refuses orders so far from the price", "the price comes nearer"),
    IdleReason.MAX_ORDERS: Reason("the exchange allows no more open orders", "the price comes nearer"),
    IdleReason.RATE_LIMITED: Reason("the rate limit of the exchange is used up", "the next tick"),
    IdleReason.REJECTED: Reason("the exchange refused its last order", "a wait; then it is tried again"),
    IdleReason.NO_BASE: Reason("too little of the base is free on the exchange", "base that is free again"),
    IdleReason.GRID_UNFIT: Reason(
        "the exchange's present rules or fees do not allow the grid: it only sells", "a grid that fits: gridflow check"
    ),
    IdleReason.OUT_OF_REACH: Reason("its level is farther away than activation_pct", "the price comes nearer"),
    IdleReason.NOT_STARTED: Reason(
        "the grid waits for its trigger price or start time", "that price or time (trigger_price, start_at)"
    ),
    IdleReason.PAUSED_BY_RULE: Reason(
        "the settings pause buys at this price or time", "a price or time outside that range (pause_…)"
    ),
    IdleReason.POSITION_LIMIT: Reason(
        "the share of base in the symbol's money is at its limit", "a price or fill that changes the share"
    ),
    IdleReason.PRICE_JUMP: Reason("the price jumped", "the next tick, which confirms the price"),
    IdleReason.WIDE_SPREAD: Reason("ask and bid are too far apart", "a spread below max_spread_pct"),
    IdleReason.STOP_FIRED: Reason("a stop of the symbol has fired", "gridflow resume SYMBOL"),
    IdleReason.RESERVE: Reason(
        "it holds the base of all levels above the range", "a higher price: each new level gets its part"
    ),
    IdleReason.RETIRED: Reason(
        "it is of an earlier grid or range, or its symbol left the settings", "nothing: it no longer buys"
    ),
}


def reason_of(code: str) -> Reason:
    """The words for a code; the code itself where a later version wrote it."""
    try:
        return REASONS[IdleReason(code)]
    except ValueError:
        return Reason(code, "")
