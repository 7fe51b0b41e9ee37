"""How the pool is shared: pure rules, integer units of 1e-8 quote.

Water-filling: every symbol gets the same level per weight until it reaches its cap; what the capped ones leave goes
on to the others. Floors (money already committed) come first and are never taken away.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tasks.base.money import ZERO
from tasks.base.settings import AllocationStrategy
from tasks.funds.models import ShareRequest

USAGE_SPREAD_LIMIT = Decimal("0.3")
SCORE_RANGE = (Decimal("0.5"), Decimal(2))


def performance_score(profit_of_last_cells: Decimal, allocated: Decimal) -> Decimal:
    """clamp(1 + profit of the last 20 closed cells / allocated, 0.5, 2); 1 without an allocation."""
    if allocated <= 0:
        return Decimal(1)
    return min(max(1 + profit_of_last_cells / allocated, SCORE_RANGE[0]), SCORE_RANGE[1])


def demand(committed: int, allocated: int) -> Decimal:
    """How much of its share a symbol wants, 0.5 (uses none) to 1.5 (uses all): DYNAMIC's second factor."""
    if allocated <= 0:
        return Decimal(1)
    return Decimal("0.5") + min(Decimal(committed) / allocated, Decimal(1))


def spread_of_usage(usages: Sequence[Decimal]) -> Decimal:
    """Largest minus smallest usage; 0 with fewer than two symbols."""
    return max(usages) - min(usages) if len(usages) > 1 else ZERO


def share_pool(strategy: AllocationStrategy, pool: int, requests: Sequence[ShareRequest]) -> dict[str, int]:
    """Allocation by symbol. Σ ≤ pool unless the floors alone exceed it; each within [floor, max(floor, cap)].

    Independent of the order of `requests`; ties in the last units go by symbol name.
    """
    ordered = sorted(requests, key=lambda request: request.symbol)
    weights = {request.symbol: _weight(strategy, request) for request in ordered}
    floors = {request.symbol: request.floor_units for request in ordered}
    caps = {request.symbol: max(request.cap_units, request.floor_units) for request in ordered}
    if sum(floors.values()) >= pool:
        return floors
    return _water_fill(pool, weights, floors, caps)


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
