"""Sharing the pot in a backtest: at the start, each hour, and when a trigger fires. Pure.

The rules are `Rebalancing` and `trigger`, as `GlobalFundAllocator.rebalance_if_needed` uses them.
"""

from collections.abc import Mapping
from dataclasses import replace

from tasks.backtest.pot import Pot, Share
from tasks.base.money import from_units, units_down
from tasks.funds.capital import Capital
from tasks.funds.models import FundCode, SymbolPerformance
from tasks.funds.rebalancing import APPLIED, SCHEDULED, UNCHANGED, ConfiguredShare, Rebalancing
from tasks.funds.rules import SPREAD_ARMS, TRIGGER_GAP_MS, USAGE_SPREAD, spread_of_usage, trigger
from tasks.settings.model import AllocationStrategy, Settings

Performances = Mapping[str, SymbolPerformance]


def pool_of(settings: Settings) -> int:
    """The pool in units: total_funds × global_max_usage, rounded down."""
    return units_down(settings.total_funds * settings.global_max_usage)


class Sharing:
    """Shares one pot by one account's settings."""

    def __init__(self, settings: Settings, pot: Pot) -> None:
        self.pot = pot
        self._settings = settings
        self._without_profit = self.rules = self._rules(Capital())
        self.even_share = from_units(self.rules.pool_units // max(len(settings.symbols), 1))
        self.rebalances = 0
        self._locked_until_ms = 0
        self._settled: list[tuple[int | None, int]] | None = None

    def _rules(self, capital: Capital) -> Rebalancing:
        own, funds = self._settings, capital.in_force(self._settings.total_funds)
        shares = {
            symbol: ConfiguredShare(one.weight, units_down(funds * one.max_usage_pct), one.max_usage_pct)
            for symbol, one in own.symbols.items()
        }
        pool = units_down(funds * own.global_max_usage)
        return Rebalancing(own.allocation_strategy, pool, shares, own.dynamic_step, own.resize_tolerance)

    @property
    def is_settled(self) -> bool:
        """Whether the hourly rebalance is known to change nothing until money moves.

        The dynamic strategy looks at profits and prices as well, unless there is one symbol only; so does `reinvest`.
        """
        if self._settings.reinvest:
            return False
        if len(self.pot.shares) == 1:
            (share,) = self.pot.shares.values()
            return share.allocated == min(self.rules.pool_units, share.cap) and share.used <= share.allocated
        return self.rules.strategy is not AllocationStrategy.DYNAMIC and self._settled == self._money()

    @property
    def locked_until_ms(self) -> int:
        """From when on a trigger may rebalance again."""
        return self._locked_until_ms

    def _money(self) -> list[tuple[int | None, int]]:
        return [(share.allocated, share.used) for share in self.pot.shares.values()]

    def open(self, now_ms: int) -> None:
        """Share the pot for the first time."""
        for symbol in self.rules.shares:
            self.pot.shares.setdefault(symbol, Share())
        self._rebalance({}, "start", now_ms)

    def on_the_hour(self, facts: Performances, now_ms: int, realised_units: int = 0) -> bool:
        """The hourly rebalance; whether it changed the allocations. `realised_units`: profit, for `reinvest`."""
        if self._settings.reinvest:
            rules = self._rules(Capital(reinvested_units=realised_units))
            self.rules = replace(rules, without_profit=self._without_profit)
        outcome = self._rebalance(facts, SCHEDULED, now_ms)
        self._settled = self._money() if outcome == UNCHANGED else None
        return outcome == APPLIED

    def on_trigger(self, facts: Performances, now_ms: int) -> bool | None:
        """Rebalance where a trigger fires; whether that changed the allocations.

        None: a trigger fires and changes nothing now. It may do so from `locked_until_ms` on.
        """
        status = self.pot.status()
        if self.rules.must_apply(status):
            return self._rebalance(facts, "monitor", now_ms) == APPLIED
        usages = [share.usage for share in status.symbols.values()]
        if status.spread_fired and spread_of_usage(usages) < SPREAD_ARMS:
            self.pot.spread_fired = False
        fired = trigger(status, facts)
        if fired is None:
            return False
        if now_ms < self._locked_until_ms:
            return None
        self._locked_until_ms = now_ms + TRIGGER_GAP_MS
        if fired == USAGE_SPREAD:
            self.pot.spread_fired = True
        return True if self._rebalance(facts, fired, now_ms) == APPLIED else None

    def _rebalance(self, facts: Performances, reason: str, now_ms: int) -> str:
        """Rebalance; the outcome."""
        plan = self.rules.plan(self.pot.status(), facts, reason, now_ms)
        if plan.outcome != APPLIED:
            return plan.outcome
        limits = self.rules.limits(plan)
        code = self.pot.set_limits(self.rules.pool_units, limits, self.rules.inputs(), plan.step_ms)
        self.rebalances += code is FundCode.OK
        return APPLIED if code is FundCode.OK else UNCHANGED
