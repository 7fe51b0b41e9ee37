"""What a rebalance should write: from the settings, a reading of the pot and the symbols' performance. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.base.money import ZERO, from_units, plain, units_down
from tasks.funds.models import (
    FundsStatus,
    LimitsChange,
    RebalanceReport,
    ShareRequest,
    SymbolChange,
    SymbolPerformance,
    TraderAllocation,
)
from tasks.funds.rules import demand, differs, exceeds_pool, scores, share_pool, stepped
from tasks.settings.model import AllocationStrategy, Settings

MANUAL = "manual"  # the reason of a rebalance that an operator asked for
SCHEDULED = "scheduled"  # the reason of the hourly one
APPLIED = "applied"  # the outcome of a rebalance that wrote
UNCHANGED = "nothing to change"  # the outcome where the allocations in force are the wanted ones
_STEP_GAP_MS = 3_540_000  # at most one dynamic step an hour; an hourly run may come a minute early


@dataclass(frozen=True)
class ConfiguredShare:
    """One symbol's part of the settings; `cap_units`: capital in force × max_usage_pct, in units of 1e-8 quote."""

    weight: Decimal
    cap_units: int
    max_usage_pct: Decimal


@dataclass(frozen=True)
class RebalancePlan:
    """What a rebalance comes to. Allocations by symbol in units of 1e-8 quote.

    `in_force`: before it. `target`: where the strategy wants them. `wanted`: to be written. `step_ms`: the time of a
    scheduled dynamic step, 0 where this is none. `outcome`: APPLIED where there is something to write, else why not.
    """

    in_force: Mapping[str, int]
    target: Mapping[str, int]
    wanted: Mapping[str, int]
    outcome: str
    step_ms: int = 0

    @property
    def leaving(self) -> list[str]:
        """Symbols that lose their registration."""
        return [symbol for symbol in self.in_force if symbol not in self.wanted]


@dataclass(frozen=True)
class Rebalancing:
    """The settings that decide how the pot is shared; `pool_units` in units of 1e-8 quote.

    `without_profit`: pool and caps as they were without reinvested profit; None where they are the same.
    """

    strategy: AllocationStrategy
    pool_units: int
    shares: Mapping[str, ConfiguredShare]
    dynamic_step: Decimal
    resize_tolerance: Decimal
    without_profit: "Rebalancing | None" = None

    def inputs(self) -> str:
        """Digest of what the operator set: strategy, funds, and each symbol's weight and cap; not the profit."""
        if self.without_profit is not None:
            return self.without_profit.inputs()
        parts = [self.strategy.value, str(self.pool_units)]
        for symbol, own in sorted(self.shares.items()):
            parts.append(f"{symbol}|{plain(own.weight)}|{own.cap_units}|{plain(own.max_usage_pct)}")
        return hashlib.blake2s("\n".join(parts).encode()).hexdigest()

    def must_apply(self, status: FundsStatus) -> bool:
        """Whether the allocations in force are out of date: other settings, or more allocated than the pool has."""
        return status.inputs != self.inputs() or exceeds_pool(status)

    def moves_pool(self, status: FundsStatus) -> bool:
        """Whether the pool in force is another one, because profit enters it or leaves it."""
        return status.version > 0 and status.pool_units != self.pool_units

    def has_leaving(self, status: FundsStatus) -> bool:
        """Whether a symbol that left the settings holds nothing and can lose its registration."""
        return any(share.registered and self._has_left(share) for share in status.symbols.values())

    def plan(
        self, status: FundsStatus, performance: Mapping[str, SymbolPerformance], reason: str, now_ms: int
    ) -> RebalancePlan:
        """The allocations to write now, or why there are none. See `GlobalFundAllocator.rebalance_if_needed`."""
        at_once = self.must_apply(status)
        requests = self._requests(status, performance)
        now = {name: share.allocated_units for name, share in status.symbols.items() if share.registered}
        target = share_pool(self.strategy, self.pool_units, requests)
        moved = self.moves_pool(status)
        if not at_once and not moved and not differs(now, target, self.resize_tolerance):
            return RebalancePlan(now, target, now, UNCHANGED)
        if self.strategy is not AllocationStrategy.DYNAMIC or at_once or reason == MANUAL:
            return RebalancePlan(now, target, target, APPLIED)
        if moved:
            return RebalancePlan(now, target, *self._with_pool(status, requests, now, target, reason, now_ms))
        wanted, step_ms = self._step(status, requests, now, target, now_ms)
        if not step_ms and wanted == now:
            return RebalancePlan(now, target, now, "the last step is less than an hour ago")
        if reason == SCHEDULED and not differs(now, wanted, self.resize_tolerance):
            return RebalancePlan(now, target, now, "the step is within the tolerance")
        return RebalancePlan(now, target, wanted, APPLIED, step_ms)

    def limits(self, plan: RebalancePlan) -> list[LimitsChange]:
        """The planned allocations with each symbol's cap, as the store writes them."""
        return [self._limits(symbol, units) for symbol, units in plan.wanted.items()]

    def report(self, status: FundsStatus, plan: RebalancePlan, reason: str, now_ms: int) -> RebalanceReport:
        """What the plan does to each symbol. A symbol without a target or a new allocation keeps what it has."""
        applied = plan.outcome == APPLIED

        def changed(units: Mapping[str, int], share: TraderAllocation) -> Decimal:
            return from_units(units.get(share.symbol, 0 if applied else share.allocated_units))

        changes = tuple(
            SymbolChange(
                symbol=symbol,
                before=from_units(share.allocated_units),
                target=changed(plan.target, share),
                after=changed(plan.wanted, share),
                used=from_units(share.used_units),
                committed=from_units(share.committed_units),
            )
            for symbol, share in sorted(status.symbols.items())
            if share.registered or symbol in plan.wanted
        )
        return RebalanceReport(
            at_ms=now_ms,
            reason=reason,
            strategy=self.strategy.value,
            applied=applied,
            outcome=plan.outcome,
            version=status.version + int(applied),
            pool=from_units(self.pool_units),
            changes=changes,
        )

    def _has_left(self, share: TraderAllocation) -> bool:
        return share.symbol not in self.shares and share.committed_units == 0

    def _limits(self, symbol: str, units: int) -> LimitsChange:
        own = self.shares.get(symbol)
        cap, share = (own.cap_units, own.max_usage_pct) if own else (0, ZERO)
        return LimitsChange(symbol=symbol, allocated_units=units, cap_units=cap, max_usage=share)

    def _step(
        self,
        status: FundsStatus,
        requests: Sequence[ShareRequest],
        now: Mapping[str, int],
        target: Mapping[str, int],
        now_ms: int,
    ) -> tuple[dict[str, int], int]:
        """Allocations one step nearer to the target, and the step's time in ms (0: no step was taken).

        Within an hour of the last step no allocation moves, with two exceptions: a symbol that has left is dropped,
        and an allocation below what its symbol has used meanwhile is raised to that.
        """
        if now_ms - status.stepped_ms >= _STEP_GAP_MS:
            return stepped(self.pool_units, requests, now, target, self.dynamic_step), now_ms
        kept = {symbol: now[symbol] for symbol in target if symbol in now}
        if kept == now:
            return kept, 0
        return stepped(min(self.pool_units, sum(kept.values())), requests, kept, kept, ZERO), 0

    def _with_pool(
        self,
        status: FundsStatus,
        requests: Sequence[ShareRequest],
        now: Mapping[str, int],
        target: Mapping[str, int],
        reason: str,
        now_ms: int,
    ) -> tuple[dict[str, int], str, int]:
        """Allocations, outcome and step where profit enters or leaves the pool: each symbol keeps its part of it.

        A scheduled step that is due is taken as well.
        """
        before = max(status.pool_units, 1)
        kept = {symbol: units * self.pool_units // before for symbol, units in now.items()}
        due = reason == SCHEDULED and now_ms - status.stepped_ms >= _STEP_GAP_MS
        wanted = stepped(self.pool_units, requests, kept, target, self.dynamic_step if due else ZERO)
        return wanted, APPLIED, now_ms if due else 0

    def _requests(self, status: FundsStatus, performance: Mapping[str, SymbolPerformance]) -> list[ShareRequest]:
        score = scores({symbol: performance.get(symbol, SymbolPerformance()) for symbol in self.shares})
        requests = []
        for symbol, now in status.symbols.items():
            own = self.shares.get(symbol)
            if own is None and (self._has_left(now) or not now.registered):
                continue  # it left the settings and has nothing: its share goes back to the others
            requests.append(
                ShareRequest(
                    symbol=symbol,
                    weight=own.weight if own else ZERO,
                    cap_units=own.cap_units if own else 0,
                    floor_units=now.used_units,
                    score=score[symbol] if own else ZERO,
                    demand=demand(performance.get(symbol, SymbolPerformance())),
                )
            )
        return requests


def first_allocations(settings: Settings) -> dict[str, Decimal]:
    """What each symbol gets of a pot that nobody has traded in yet, in quote."""
    pool = units_down(settings.total_funds * settings.global_max_usage)
    requests = [
        ShareRequest(
            symbol=symbol,
            weight=own.weight,
            cap_units=units_down(settings.total_funds * own.max_usage_pct),
            floor_units=0,
        )
        for symbol, own in settings.symbols.items()
    ]
    shares = share_pool(settings.allocation_strategy, pool, requests)
    return {symbol: from_units(units) for symbol, units in shares.items()}
