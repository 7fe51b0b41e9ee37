"""`GlobalFundAllocator`: grants, books and frees the money of the pot. All state is in Redis."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.money import from_units, units_down, units_up
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.funds import store
from tasks.funds.capital import Capital
from tasks.funds.models import (
    FeeCharge,
    FillMove,
    FundCode,
    FundsStatus,
    RebalanceReport,
    Reservation,
    Reserved,
    SymbolPerformance,
    TraderAllocation,
    Write,
)
from tasks.funds.rebalancing import APPLIED, MANUAL, SCHEDULED, UNCHANGED, ConfiguredShare, RebalancePlan, Rebalancing
from tasks.funds.rules import SPREAD_ARMS, USAGE_SPREAD, preview, spread_of_usage, trigger
from tasks.settings.model import AllocationStrategy, Settings

log = logging.getLogger(__name__)
_TRIES = 5


@dataclass
class GlobalFundAllocator:
    """One pot for many symbols and many processes. Every method runs one atomic script; rebalancing reads first."""

    redis: RedisClient
    keys: Keys
    total_funds: Decimal
    global_max_usage: Decimal
    strategy: AllocationStrategy
    shares: dict[str, ConfiguredShare] = field(default_factory=dict)
    clock: Clock = utc_now
    dynamic_step: Decimal = Decimal("0.25")
    resize_tolerance: Decimal = Decimal("0.1")
    settings_version: int = 0  # version in force when the settings were read; 0: not by_symbol
    reinvest: bool = False
    capital: Capital = field(default_factory=Capital)  # as it was last read

    @classmethod
    def from_settings(cls, settings: Settings, redis: RedisClient, clock: Clock = utc_now) -> "GlobalFundAllocator":
        """An allocator for the configured account, with every configured symbol registered."""
        allocator = cls(
            redis=redis,
            keys=Keys(settings.account),
            total_funds=settings.total_funds,
            global_max_usage=settings.global_max_usage,
            strategy=settings.allocation_strategy,
            clock=clock,
        )
        allocator.follow(settings)
        return allocator

    def follow(self, settings: Settings, version: int = 0) -> None:
        """Take funds, strategy and symbols from `settings`; the next rebalance uses them.

        `version`: the version of these settings in force. A rebalance writes nothing once another version is.
        """
        self.settings_version = version
        self.total_funds, self.global_max_usage = settings.total_funds, settings.global_max_usage
        self.strategy = settings.allocation_strategy
        self.dynamic_step, self.resize_tolerance = settings.dynamic_step, settings.resize_tolerance
        self.reinvest = settings.reinvest
        self.shares.clear()
        for symbol, own in settings.symbols.items():
            self.register_trader(symbol, weight=own.weight, max_usage_pct=own.max_usage_pct)

    def note_capital(self, capital: Capital) -> None:
        """Take what was invested, withdrawn and reinvested from a reading of the pot: pool and caps follow it."""
        if capital != self.capital:
            self.capital = capital
            self.shares = self._shares_of(capital)

    @property
    def pool_units(self) -> int:
        """Capital in force × global_max_usage, rounded down."""
        return self._pool_of(self.capital)

    def _pool_of(self, capital: Capital) -> int:
        return units_down(capital.in_force(self.total_funds) * self.global_max_usage)

    def _shares_of(self, capital: Capital) -> dict[str, ConfiguredShare]:
        """The configured shares with the caps that follow from `capital`."""
        funds = capital.in_force(self.total_funds)
        return {
            symbol: replace(own, cap_units=units_down(funds * own.max_usage_pct)) for symbol, own in self.shares.items()
        }

    @property
    def even_share(self) -> Decimal:
        """The pool divided by the symbols, in quote."""
        return from_units(self.pool_units // max(len(self.shares), 1))

    def register_trader(self, symbol: str, *, weight: Decimal, max_usage_pct: Decimal) -> None:
        """Let `symbol` share the pot from the next rebalance on."""
        cap = units_down(self.capital.in_force(self.total_funds) * max_usage_pct)
        self.shares[symbol] = ConfiguredShare(weight=weight, cap_units=cap, max_usage_pct=max_usage_pct)

    async def check_trade_allowed(self, symbol: str, side: Side | str, amount: Decimal) -> tuple[bool, str]:
        """Whether an order would be allowed now, and why not. A preview: reserves nothing.

        `amount`: what the order costs or brings, in quote, fee included. A sell is refused only under a stop.
        Raises ValueError for a side other than buy or sell and for an amount that is not above 0.
        """
        if amount <= 0:
            raise ValueError(f"amount = {amount}: must be above 0")
        status = await store.status(self.redis, keys=self.keys, symbols=[symbol])
        reason = preview(status, symbol, Side(side), units_up(amount))
        return reason == FundCode.OK.name, reason

    async def reserve(self, symbol: str, fence: int, items: Sequence[Reservation]) -> list[Reserved]:
        """Grant and journal a batch of orders. One answer per item, in the same order.

        `fence`: of the caller's lease; an older one is refused. Raises ValueError for more than 1000 items.
        """
        if not items:
            return []
        now_ms = to_ms(self.clock())
        return await store.reserve(self.redis, keys=self.keys, symbol=symbol, fence=fence, now_ms=now_ms, items=items)

    async def adopt(self, symbol: str, fence: int, items: Sequence[Reservation]) -> FundCode:
        """Journal orders that the exchange has already, and reserve what they can still cost, even past the limits.

        Returns OK, STALE_FENCE or RESTARTED. An item whose id has a reservation replaces it.
        """
        return await store.adopt(self.redis, keys=self.keys, symbol=symbol, fence=fence, items=items)

    async def record_trade(
        self,
        symbol: str,
        fence: int,
        fills: Sequence[FillMove],
        ended: Sequence[str] = (),
        writes: Sequence[Write] = (),
        charges: Sequence[FeeCharge] = (),
    ) -> FundCode:
        """Book fills and release what the `ended` reservations still hold, in one step with the records `writes`.

        `charges`: fees of these fills for the queues of other symbols, in the same step.

        Returns OK, ALREADY (every fill was booked before), STALE_FENCE, or CONFLICT (some fills were booked before).
        """
        return await store.record(
            self.redis,
            keys=self.keys,
            symbol=symbol,
            fence=fence,
            fills=fills,
            ended=ended,
            writes=writes,
            charges=charges,
        )

    async def release(
        self, symbol: str, fence: int, ids: Sequence[str], writes: Sequence[Write] = ()
    ) -> tuple[FundCode, int]:
        """Release what the reservations hold, in one step with the records `writes`; (code, units of 1e-8 released)."""
        return await store.release(self.redis, keys=self.keys, symbol=symbol, fence=fence, ids=ids, writes=writes)

    async def guard(self, short_units: int, promised_units: int, read: str, first: str) -> tuple[int, int]:
        """Store by how much the exchange surely holds less than the pot promises (1e-8 quote; 0: enough).

        While any are missing, nothing new is granted. Returns the units missing now, and before. See `store.guard`.
        """
        return await store.guard(
            self.redis,
            keys=self.keys,
            short_units=short_units,
            promised_units=promised_units,
            read=read,
            first=first,
        )

    async def get_allocation_status(self, symbol: str) -> TraderAllocation:
        """The state of one symbol's share."""
        return (await store.status(self.redis, keys=self.keys, symbols=[symbol])).symbols[symbol]

    async def get_global_status_summary(self) -> FundsStatus:
        """The state of the whole pot: every configured symbol and every symbol that was ever registered."""
        registered = await store.all_symbols(self.redis, keys=self.keys)
        status = await store.status(self.redis, keys=self.keys, symbols=sorted({*registered, *self.shares}))
        self.note_capital(status.capital)
        return status

    async def rebalance_if_needed(
        self,
        force: bool = False,
        reason: str = SCHEDULED,
        performance: Mapping[str, SymbolPerformance] | None = None,
        *,
        only_open: bool = False,
        realised_units: int | None = None,
    ) -> RebalanceReport:
        """Share the pool again when forced, when the operator's inputs changed, or when a trigger fires.

        `performance` by symbol: for the dynamic strategy and the triggers. DYNAMIC goes all the way to its target when
        the reason is "manual" or the operator's inputs changed, else `dynamic_step` of the way, at most once an hour. A
        "scheduled" step that changes no allocation by more than `resize_tolerance` is left out: no order follows it.
        Nothing is written unless a target differs by more than `resize_tolerance` from what is in force, the inputs
        changed, or the allocations exceed the pool although the inventory no longer does; the latter goes all the way.
        Safe to run twice at the same time: one call writes, the other returns "nothing to change".
        `only_open`: change nothing where the pot was never shared, for instance because Redis has just lost it.
        `realised_units`: realised profit of the account; a scheduled or manual rebalance puts it into the pool where
        `reinvest` is set. None: the profit in the pool stays as it is.
        """
        by_symbol = performance or {}
        for _ in range(_TRIES):
            status = await self.get_global_status_summary()
            if only_open and status.version == 0:
                return self._unchanged(status, reason, "the pot is not open")
            capital = self._capital_for(status, reason, realised_units)
            rebalancing = self._rebalancing(capital)
            is_due = rebalancing.must_apply(status) or rebalancing.has_leaving(status) or rebalancing.moves_pool(status)
            if not force and not is_due:
                fired = await self._trigger_reason(status, by_symbol)
                if fired is None:
                    return self._unchanged(status, reason, "not needed")
                force, reason = True, fired
            report = await self._rebalance(status, by_symbol, reason, capital)
            if report is not None:
                return report
        return self._unchanged(status, reason, "another worker wrote first")

    def preview(self, status: FundsStatus, performance: Mapping[str, SymbolPerformance]) -> dict[str, int]:
        """The allocations, in units of 1e-8 quote by symbol, that a change of settings would write."""
        rebalancing = self._rebalancing(self._capital_for(status, "settings", None))
        return dict(rebalancing.plan(status, performance, "settings", to_ms(self.clock())).wanted)

    def planned(
        self,
        status: FundsStatus,
        performance: Mapping[str, SymbolPerformance],
        reason: str,
        realised_units: int | None = None,
    ) -> RebalanceReport:
        """What a rebalance for that reason would change now. Writes nothing. `realised_units`: as of a rebalance."""
        rebalancing = self._rebalancing(self._capital_for(status, reason, realised_units))
        now_ms = to_ms(self.clock())
        return rebalancing.report(status, rebalancing.plan(status, performance, reason, now_ms), reason, now_ms)

    def _capital_for(self, status: FundsStatus, reason: str, realised_units: int | None) -> Capital:
        """The capital that a rebalance for that reason shares."""
        reinvested = status.reinvested_units if self.reinvest else 0
        if self.reinvest and realised_units is not None and reason in (SCHEDULED, MANUAL):
            reinvested = realised_units
        return status.capital.with_reinvested(reinvested)

    def _rebalancing(self, capital: Capital) -> Rebalancing:
        own = capital.with_reinvested(0)
        without, found = (
            Rebalancing(
                self.strategy, self._pool_of(one), self._shares_of(one), self.dynamic_step, self.resize_tolerance
            )
            for one in (own, capital)
        )
        return found if own == capital else replace(found, without_profit=without)

    def _unchanged(self, status: FundsStatus, reason: str, outcome: str) -> RebalanceReport:
        return self._rebalancing(status.capital).report(
            status, RebalancePlan({}, {}, {}, outcome), reason, to_ms(self.clock())
        )

    async def _rebalance(
        self, status: FundsStatus, performance: Mapping[str, SymbolPerformance], reason: str, capital: Capital
    ) -> RebalanceReport | None:
        """One try; None where another worker wrote first or money moved meanwhile."""
        rebalancing = self._rebalancing(capital)
        now_ms = to_ms(self.clock())
        plan = rebalancing.plan(status, performance, reason, now_ms)
        report = rebalancing.report(status, plan, reason, now_ms)
        if plan.outcome != APPLIED:
            return report
        code, version = await store.set_limits(
            self.redis,
            keys=self.keys,
            expected_version=status.version,
            pool_units=rebalancing.pool_units,
            limits=rebalancing.limits(plan),
            unregister=plan.leaving,
            report=report.model_dump_json(),
            inputs=rebalancing.inputs(),
            step_ms=plan.step_ms,
            settings_version=self.settings_version,
            capital=capital,
        )
        if code is FundCode.OK:
            self.note_capital(capital)
            log.info("rebalanced", extra={"reason": reason, "version": version})
            return report
        if code is FundCode.ALREADY:
            unchanged = replace(plan, wanted=plan.in_force, outcome=UNCHANGED)
            return rebalancing.report(status, unchanged, reason, to_ms(self.clock()))
        return None

    async def _trigger_reason(self, status: FundsStatus, performance: Mapping[str, SymbolPerformance]) -> str | None:
        """Why a rebalance is due now; None where none is, or where another was triggered within ten minutes.

        Also arms and disarms the trigger of the usage spread.
        """
        usages = [share.usage for share in status.symbols.values() if share.registered]
        if status.spread_fired and spread_of_usage(usages) < SPREAD_ARMS:
            await store.set_flag(self.redis, hashes=[self.keys.funds], flag="spread_fired", value=False)
        fired = trigger(status, performance)
        if fired is None or not await store.may_trigger(self.redis, keys=self.keys):
            return None
        if fired == USAGE_SPREAD:
            await store.set_flag(self.redis, hashes=[self.keys.funds], flag="spread_fired", value=True)
        return fired
