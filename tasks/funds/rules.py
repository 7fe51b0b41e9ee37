"""How the pool is shared. Pure; amounts in integer units of 1e-8 quote.

Water-filling: every symbol gets the same amount per weight until it reaches its cap. What capped symbols leave goes
to the others. Floors (what the inventory cost) are served first and never taken away.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tasks.base.money import ZERO, exact
from tasks.exchange.models import Side
from tasks.funds.models import FundCode, FundsStatus, ShareRequest, SymbolPerformance, TraderAllocation
from tasks.settings.model import AllocationStrategy

SPREAD_FIRES = Decimal("0.3")  # usage spread from which a rebalance is triggered
SPREAD_ARMS = Decimal("0.25")  # and below which the trigger is armed again
USAGE_SPREAD = "usage spread"  # the reason of a rebalance that the spread triggered
FREE_SHARE = Decimal("0.1")  # of the pool, which must be free for a refused symbol to trigger a rebalance
SCORE_RANGE = (Decimal("0.5"), Decimal(2))
OUTSIDE_DEMAND = Decimal("0.5")
TRIGGER_GAP_MS = 600_000  # at most one triggered rebalance in ten minutes, by one worker
STOPPED = "STOPPED"  # why an order is refused while a stop is in force


def scores(performance: Mapping[str, SymbolPerformance]) -> dict[str, Decimal]:
    """DYNAMIC's first factor: clamp(return ÷ mean return of all symbols, 0.5, 2); 1 where the mean is not above 0."""
    total = sum((one.return_72h for one in performance.values()), ZERO)
    if total <= 0:
        return dict.fromkeys(performance, Decimal(1))
    mean = total / len(performance)
    low, high = SCORE_RANGE
    return {symbol: min(max(one.return_72h / mean, low), high) for symbol, one in performance.items()}


def demand(performance: SymbolPerformance) -> Decimal:
    """DYNAMIC's second factor: 0.5 while the price is outside the grid, else 1."""
    return OUTSIDE_DEMAND if performance.outside else Decimal(1)


def spread_of_usage(usages: Sequence[Decimal]) -> Decimal:
    """Largest minus smallest usage; 0 with fewer than two symbols."""
    return max(usages) - min(usages) if len(usages) > 1 else ZERO


def share_pool(strategy: AllocationStrategy, pool: int, requests: Sequence[ShareRequest]) -> dict[str, int]:
    """Allocation by symbol, in units. Σ ≤ pool unless the floors alone exceed it; each within [floor, max(floor, cap)].

    Does not depend on the order of `requests`: the last units are given out by symbol name.
    """
    ordered = sorted(requests, key=lambda request: request.symbol)
    weights = {request.symbol: _weight(strategy, request) for request in ordered}
    floors = {request.symbol: request.floor_units for request in ordered}
    caps = {request.symbol: max(request.cap_units, request.floor_units) for request in ordered}
    if sum(floors.values()) >= pool:
        return floors
    with exact():
        return _water_fill(pool, weights, floors, caps)


def stepped(
    pool: int, requests: Sequence[ShareRequest], now: Mapping[str, int], target: Mapping[str, int], step: Decimal
) -> dict[str, int]:
    """Allocation by symbol, `step` of the way from `now` to `target`; bounds and the pool hold as in `share_pool`."""
    weighted = [
        request.model_copy(
            update={"weight": now.get(request.symbol, 0) + step * (target[request.symbol] - now.get(request.symbol, 0))}
        )
        for request in requests
    ]
    return share_pool(AllocationStrategy.WEIGHTED, pool, weighted)


def differs(now: Mapping[str, int], wanted: Mapping[str, int], tolerance: Decimal) -> bool:
    """Whether an allocation changes by more than `tolerance` (a share of it), or a symbol comes or goes."""
    if now.keys() != wanted.keys():
        return True
    return any(abs(units - now[symbol]) > tolerance * now[symbol] for symbol, units in wanted.items())


def exceeds_pool(status: FundsStatus) -> bool:
    """Whether the sum of allocations is above the pool and above the cost of all inventory."""
    allocated = sum(share.allocated_units for share in status.symbols.values() if share.registered)
    return allocated > max(status.pool_units, status.used_units)


def trigger(status: FundsStatus, performance: Mapping[str, SymbolPerformance]) -> str | None:
    """Why a rebalance is due without an operator's request; None where none is.

    Either the usage spread rose above 0.3 after it was below 0.25, or a symbol below its cap was refused for its own
    limit while at least a tenth of the pool is free.
    """
    usages = [share.usage for share in status.symbols.values() if share.registered]
    if spread_of_usage(usages) > SPREAD_FIRES and not status.spread_fired:
        return USAGE_SPREAD
    if status.free_units < FREE_SHARE * status.pool_units:
        return None
    waiting = (name for name, one in performance.items() if one.refused and _below_cap(status.symbols.get(name)))
    first = next(iter(sorted(waiting)), None)
    return None if first is None else f"{first} was refused while money is free"


def preview(status: FundsStatus, symbol: str, side: Side, units: int) -> str:
    """The code that the reserve script would give a new order of `units` now, or STOPPED while a stop is in force."""
    share = status.symbols[symbol]
    if not share.registered:
        return FundCode.UNKNOWN_SYMBOL.name
    if status.stopped:
        return STOPPED
    return _reserve_code(status, share, units).name if side is Side.BUY else FundCode.OK.name


def _reserve_code(status: FundsStatus, share: TraderAllocation, units: int) -> FundCode:
    if status.paused or share.paused:
        return FundCode.PAUSED
    if share.committed_units + units > share.allocated_units:
        return FundCode.SYMBOL_LIMIT
    if status.short_units or status.committed_units + units > status.pool_units:
        return FundCode.GLOBAL_LIMIT
    return FundCode.OK


def _below_cap(share: TraderAllocation | None) -> bool:
    return share is not None and share.allocated_units < share.cap_units


def _weight(strategy: AllocationStrategy, request: ShareRequest) -> Decimal:
    if strategy is AllocationStrategy.EQUAL:
        return Decimal(1)
    if strategy is AllocationStrategy.WEIGHTED:
        return request.weight
    return request.score * request.demand


def _water_fill(
    pool: int, weights: Mapping[str, Decimal], floors: Mapping[str, int], caps: Mapping[str, int]
) -> dict[str, int]:
    """Pin symbols to their floor or cap until the rest share what is left in proportion to their weights.

    Each round pins one side only, the side whose violation is larger in sum (the exact rule for a single budget
    with two-sided bounds: Pardalos & Kovoor 1990, singly constrained quadratic programs), so it ends after at most
    n rounds.
    """
    result: dict[str, int] = {name: floors[name] for name, weight in weights.items() if weight <= 0}
    open_names = [name for name in weights if name not in result]
    left = pool - sum(result.values())
    while open_names:
        total = sum((weights[name] for name in open_names), ZERO)
        shares = {name: int(left * weights[name] / total) for name in open_names}
        below = {name: floors[name] - share for name, share in shares.items() if share < floors[name]}
        above = {name: share - caps[name] for name, share in shares.items() if share > caps[name]}
        if not below and not above:
            result |= shares
            break
        pinned = floors if sum(below.values()) >= sum(above.values()) else caps
        for name in below if pinned is floors else above:
            result[name] = pinned[name]
            left -= pinned[name]
            open_names.remove(name)
    return result
