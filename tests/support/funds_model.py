"""What the pot should say, worked out another way than the program does it: plain records and exact fractions.

Amounts are units. Shares are not rounded here: the program floors them to whole units, a test allows for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tasks.funds.models import FundCode, SymbolPerformance
from tasks.settings.model import AllocationStrategy

NO_FACTS = SymbolPerformance()


@dataclass
class Share:
    """One symbol: its money, its journal and its cells."""

    allocated: int = 0
    cap: int = 0
    registered: bool = False
    used: int = 0
    fence: int = 0
    paused: bool = False
    reservations: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    lots: list[int] = field(default_factory=list)  # cost of each lot held
    intents: set[str] = field(default_factory=set)
    cells: set[str] = field(default_factory=set)

    @property
    def reserved(self) -> int:
        """Sum of the reservations."""
        return sum(self.reservations.values())

    @property
    def committed(self) -> int:
        """Used plus reserved."""
        return self.used + self.reserved

    @property
    def usage(self) -> Fraction:
        """used / allocated."""
        return Fraction(self.used, self.allocated) if self.allocated else Fraction(0)


@dataclass
class Pot:
    """The whole pot as the scripts should keep it."""

    shares: dict[str, Share]
    pool: int = 0
    paused: bool = False
    stopped: bool = False
    holds: set[str] = field(default_factory=set)  # owners of holds
    short: int = 0
    version: int = 0
    max_committed: int = 0
    stepped_ms: int = 0
    spread_fired: bool = False

    @property
    def used(self) -> int:
        """Of all symbols."""
        return sum(share.used for share in self.shares.values())

    @property
    def committed(self) -> int:
        """Of all symbols."""
        return sum(share.committed for share in self.shares.values())

    @property
    def registered(self) -> dict[str, int]:
        """Allocation of each registered symbol."""
        return {name: share.allocated for name, share in self.shares.items() if share.registered}

    @property
    def is_stopped(self) -> bool:
        """By an operator, or held by a worker that winds down."""
        return self.stopped or bool(self.holds)

    @property
    def exceeds_pool(self) -> bool:
        """Whether more is allocated than the pool has, and more than all inventory has cost."""
        return sum(self.registered.values()) > max(self.pool, self.used)

    @property
    def spread(self) -> Fraction:
        """Largest minus smallest usage of the registered symbols."""
        usages = [share.usage for share in self.shares.values() if share.registered]
        return max(usages) - min(usages) if len(usages) > 1 else Fraction(0)

    def judge(self, symbol: str, units: int) -> FundCode:
        """What a buy of `units` is told; 0 units, a sale, are refused only under a stop."""
        share = self.shares[symbol]
        if not share.registered:
            return FundCode.UNKNOWN_SYMBOL
        if self.is_stopped:
            return FundCode.PAUSED
        if units == 0:
            return FundCode.OK
        if self.paused or share.paused:
            return FundCode.PAUSED
        if share.committed + units > share.allocated:
            return FundCode.SYMBOL_LIMIT
        if self.short or self.committed + units > self.pool:
            return FundCode.GLOBAL_LIMIT
        return FundCode.OK

    def trigger(self, facts: Mapping[str, SymbolPerformance]) -> str | None:
        """Why a rebalance is due by itself."""
        if self.spread > Fraction(3, 10) and not self.spread_fired:
            return "usage spread"
        free = 0 if self.short else max(self.pool - self.committed, 0)
        if free * 10 < self.pool:
            return None
        waiting = [
            name
            for name, one in sorted(facts.items())
            if one.refused and self.shares[name].allocated < self.shares[name].cap
        ]
        return f"{waiting[0]} was refused while money is free" if waiting else None


@dataclass(frozen=True)
class Claim:
    """What one symbol may get: in proportion to its weight, within [floor, cap]."""

    weight: Fraction
    floor: int
    cap: int

    def at(self, level: Fraction) -> Fraction:
        """Its share where the water stands at `level`."""
        if self.weight == 0:
            return Fraction(self.floor)
        return min(max(self.weight * level, Fraction(self.floor)), Fraction(max(self.cap, self.floor)))


def dynamic_weights(facts: Mapping[str, SymbolPerformance]) -> dict[str, Fraction]:
    """Score × demand by symbol."""
    returns = {name: Fraction(one.return_72h) for name, one in facts.items()}
    mean = sum(returns.values(), Fraction(0)) / max(len(returns), 1)
    weights = {}
    for name, one in facts.items():
        score = min(max(returns[name] / mean, Fraction(1, 2)), Fraction(2)) if mean > 0 else Fraction(1)
        weights[name] = score / 2 if one.outside else score
    return weights


def fair_shares(pool: int, claims: Mapping[str, Claim]) -> dict[str, Fraction]:
    """Everybody at the same level of water, the level at which the pool is used up; floors where those take it all."""
    if sum(claim.floor for claim in claims.values()) >= pool:
        return {name: Fraction(claim.floor) for name, claim in claims.items()}
    level = _level(pool, list(claims.values()))
    return {name: claim.at(level) for name, claim in claims.items()}


def _level(pool: int, claims: list[Claim]) -> Fraction:
    """The sum rises in straight lines between the levels at which somebody leaves a floor or reaches a cap."""
    bounds = [(bound, one.weight) for one in claims if one.weight for bound in (one.floor, max(one.cap, one.floor))]
    below = Fraction(0)
    for corner in sorted({Fraction(bound) / weight for bound, weight in bounds}):
        low, high = (sum((one.at(level) for one in claims), Fraction(0)) for level in (below, corner))
        if high >= pool:
            return below + (corner - below) * (pool - low) / (high - low) if high > low else corner
        below = corner
    return below


def step_towards(
    pool: int, claims: Mapping[str, Claim], now: Mapping[str, int], target: Mapping[str, int], step: Fraction
) -> dict[str, Fraction]:
    """`step` of the way from `now` to `target`, within floors, caps and pool."""
    moved = {
        name: Claim(now.get(name, 0) + step * (target[name] - now.get(name, 0)), claim.floor, claim.cap)
        for name, claim in claims.items()
    }
    return fair_shares(pool, moved)


def weights_of(
    strategy: AllocationStrategy, configured: Mapping[str, Decimal], facts: Mapping[str, SymbolPerformance]
) -> dict[str, Fraction]:
    """Weight of each configured symbol."""
    if strategy is AllocationStrategy.WEIGHTED:
        return {name: Fraction(weight) for name, weight in configured.items()}
    if strategy is AllocationStrategy.EQUAL:
        return dict.fromkeys(configured, Fraction(1))
    return dynamic_weights({name: facts.get(name, NO_FACTS) for name in configured})
