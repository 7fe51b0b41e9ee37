"""`GlobalFundAllocator`: the one desk that hands out the pot. Holds no state of its own; Redis has all of it."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.money import ZERO, from_units, plain, units_down, units_up
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.funds import store
from tasks.funds.models import (
    FillMove,
    FundCode,
    FundsStatus,
    LimitsChange,
    RebalanceReport,
    Reservation,
    Reserved,
    ShareRequest,
    SymbolChange,
    SymbolPerformance,
    TraderAllocation,
    Write,
)
from tasks.funds.rules import (
    SPREAD_ARMS,
    USAGE_SPREAD,
    demand,
    differs,
    exceeds_pool,
    scores,
    share_pool,
    spread_of_usage,
    stepped,
    trigger,
)
from tasks.settings.model import AllocationStrategy, Settings

log = logging.getLogger(__name__)
_TRIES = 5
_HOUR_MS = 3_600_000
_STEP_GAP_MS = _HOUR_MS - 60_000  # an hourly run may come a little early
MANUAL = "manual"  # the reason of a rebalance that an operator asked for
SCHEDULED = "scheduled"  # the reason of the hourly one
APPLIED = "applied"  # the outcome of a rebalance that wrote
STOPPED = "STOPPED"  # why an order is refused while a stop is in force


@dataclass(frozen=True)
class Share:
    """What the settings say of one symbol's share; `cap_units`: total_funds × max_usage_pct."""

    weight: Decimal
    cap_units: int
    max_usage_pct: Decimal


@dataclass
class GlobalFundAllocator:
    """One pot for many symbols and many processes. Every method is one atomic script (rebalancing: read, then one)."""

    redis: RedisClient
    keys: Keys
    total_funds: Decimal
    global_max_usage: Decimal
    strategy: AllocationStrategy
    shares: dict[str, Share] = field(default_factory=dict)
    clock: Clock = utc_now
    dynamic_step: Decimal = Decimal("0.25")
    resize_tolerance: Decimal = Decimal("0.1")
    settings_version: int = 0  # of those in force when they were read; 0: not known

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
        """Take funds, strategy and symbols from `settings`; they count from the next rebalance on.

        `version`: under which they are in force; a rebalance writes nothing once others are.
        """
        self.settings_version = version
        self.total_funds, self.global_max_usage = settings.total_funds, settings.global_max_usage
        self.strategy = settings.allocation_strategy
        self.dynamic_step, self.resize_tolerance = settings.dynamic_step, settings.resize_tolerance
        self.shares.clear()
        for symbol, own in settings.symbols.items():
            self.register_trader(symbol, weight=own.weight, max_usage_pct=own.max_usage_pct)

    @property
    def pool_units(self) -> int:
        """total_funds × global_max_usage, rounded down."""
        return units_down(self.total_funds * self.global_max_usage)

    @property
    def even_share(self) -> Decimal:
        """The pool divided by the symbols, in quote."""
        return from_units(self.pool_units // max(len(self.shares), 1))

    def register_trader(self, symbol: str, *, weight: Decimal, max_usage_pct: Decimal) -> None:
        """Let `symbol` share the pot from the next rebalance on."""
        cap = units_down(self.total_funds * max_usage_pct)
        self.shares[symbol] = Share(weight=weight, cap_units=cap, max_usage_pct=max_usage_pct)

    async def check_trade_allowed(self, symbol: str, side: Side | str, amount: Decimal) -> tuple[bool, str]:
        """Whether an order would be allowed now, and why not. A preview: binds nothing.

        `amount`: what the order costs or brings, in quote, fee included. A sell is refused only under a stop.
        Raises ValueError for a side other than buy or sell and for an amount that is not above 0.
        """
        if amount <= 0:
            raise ValueError(f"amount = {amount}: must be above 0")
        status = await store.status(self.redis, keys=self.keys, symbols=[symbol])
        reason = preview(status, symbol, Side(side), units_up(amount))
        return reason == FundCode.OK.name, reason

    async def reserve(self, symbol: str, fence: int, items: Sequence[Reservation]) -> list[Reserved]:
        """Grant and journal a batch of orders; binding. One answer per item."""
        if not items:
            return []
        now_ms = to_ms(self.clock())
        return await store.reserve(self.redis, keys=self.keys, symbol=symbol, fence=fence, now_ms=now_ms, items=items)

    async def record_trade(
        self,
        symbol: str,
        fence: int,
        fills: Sequence[FillMove],
        ended: Sequence[str] = (),
        writes: Sequence[Write] = (),
    ) -> FundCode:
        """Book fills, and give back what ended orders still hold."""
        return await store.record(
            self.redis, keys=self.keys, symbol=symbol, fence=fence, fills=fills, ended=ended, writes=writes
        )

    async def release(
        self, symbol: str, fence: int, ids: Sequence[str], writes: Sequence[Write] = ()
    ) -> tuple[FundCode, int]:
        """Give back what the reservations hold; (code, units)."""
        return await store.release(self.redis, keys=self.keys, symbol=symbol, fence=fence, ids=ids, writes=writes)

    async def guard(self, held: Decimal) -> tuple[int, int]:
        """Compare the quote held on the exchange (free and locked) with what is promised; units short now, before."""
        return await store.guard(self.redis, keys=self.keys, held_units=units_down(held))

    async def get_allocation_status(self, symbol: str) -> TraderAllocation:
        """One symbol's share now."""
        return (await store.status(self.redis, keys=self.keys, symbols=[symbol])).symbols[symbol]

    async def get_global_status_summary(self) -> FundsStatus:
        """The whole pot now: every configured symbol, and every other that ever was; one consistent reading."""
        known = await store.all_symbols(self.redis, keys=self.keys)
        return await store.status(self.redis, keys=self.keys, symbols=sorted({*known, *self.shares}))

    async def rebalance_if_needed(
        self,
        force: bool = False,
        reason: str = SCHEDULED,
        performance: Mapping[str, SymbolPerformance] | None = None,
        *,
        only_open: bool = False,
    ) -> RebalanceReport:
        """Share the pool anew when forced, when the operator's inputs changed, or when a trigger fires.

        `performance` by symbol: for the dynamic strategy and the triggers. DYNAMIC goes all the way to its target when
        the reason is "manual" or the operator's inputs changed, else `dynamic_step` of the way, at most once an hour. A
        "scheduled" step that changes no allocation by more than `resize_tolerance` is left out: no order follows it.
        Nothing is written unless a target differs by more than `resize_tolerance` from what is in force, the inputs
        changed, or the allocations exceed the pool although the inventory no longer does; the latter goes all the way.
        Safe to run twice at the same time: one call writes, the other returns "nothing to change".
        `only_open`: leave a pot that nobody has shared yet as it is, for instance because Redis has just lost it.
        """
        facts = performance or {}
        for _ in range(_TRIES):
            status = await self.get_global_status_summary()
            if only_open and status.version == 0:
                return self._report(status, {}, {}, reason, outcome="the pot is not open")
            at_once = self._has_new_inputs(status) or exceeds_pool(status)
            if not force and not at_once and not self._leaving(status):
                fired = await self._fired(status, facts)
                if fired is None:
                    return self._report(status, {}, {}, reason, outcome="not needed")
                force, reason = True, fired
            report = await self._rebalance(status, facts, reason, at_once)
            if report is not None:
                return report
        return self._report(status, {}, {}, reason, outcome="others were first")

    async def _rebalance(
        self, status: FundsStatus, facts: Mapping[str, SymbolPerformance], reason: str, at_once: bool
    ) -> RebalanceReport | None:
        """One try; None when another writer was first or money moved meanwhile."""
        requests = self._requests(status, facts)
        now = {name: share.allocated_units for name, share in status.symbols.items() if share.registered}
        target = share_pool(self.strategy, self.pool_units, requests)
        if not at_once and not differs(now, target, self.resize_tolerance):
            return self._report(status, target, now, reason, outcome="nothing to change")
        wanted, step_ms = target, 0
        if self.strategy is AllocationStrategy.DYNAMIC and not at_once and reason != MANUAL:
            wanted, step_ms = self._step(status, requests, now, target)
            if not step_ms and wanted == now:
                return self._report(status, target, now, reason, outcome="the last step is less than an hour ago")
            if reason == SCHEDULED and not differs(now, wanted, self.resize_tolerance):
                return self._report(status, target, now, reason, outcome="the step is within the tolerance")
        report = self._report(status, target, wanted, reason, outcome=APPLIED)
        code, version = await store.set_limits(
            self.redis,
            keys=self.keys,
            expected_version=status.version,
            pool_units=self.pool_units,
            limits=[self._limits(symbol, units) for symbol, units in wanted.items()],
            unregister=[symbol for symbol in now if symbol not in wanted],
            report=report.model_dump_json(),
            inputs=self._inputs(),
            step_ms=step_ms,
            settings_version=self.settings_version,
        )
        if code is FundCode.OK:
            log.info("rebalanced", extra={"reason": reason, "version": version})
            return report
        if code is FundCode.ALREADY:
            return self._report(status, target, now, reason, outcome="nothing to change")
        return None

    def _step(
        self, status: FundsStatus, requests: Sequence[ShareRequest], now: Mapping[str, int], target: Mapping[str, int]
    ) -> tuple[dict[str, int], int]:
        """Allocations a step nearer to the target, and the step's time in ms.

        Within an hour of the last step nothing moves (time 0), but a symbol that has left goes. The others keep what
        they have, except that an allocation below what its symbol has used meanwhile comes up to it.
        """
        now_ms = to_ms(self.clock())
        if now_ms - status.stepped_ms >= _STEP_GAP_MS:
            return stepped(self.pool_units, requests, now, target, self.dynamic_step), now_ms
        kept = {symbol: now[symbol] for symbol in target if symbol in now}
        if kept == now:
            return kept, 0
        return stepped(min(self.pool_units, sum(kept.values())), requests, kept, kept, ZERO), 0

    async def _fired(self, status: FundsStatus, facts: Mapping[str, SymbolPerformance]) -> str | None:
        """Why a rebalance is due now, for one worker in ten minutes. Arms and disarms the spread's trigger."""
        usages = [share.usage for share in status.symbols.values() if share.registered]
        if status.spread_fired and spread_of_usage(usages) < SPREAD_ARMS:
            await store.set_flag(self.redis, hashes=[self.keys.funds], flag="spread_fired", value=False)
        fired = trigger(status, facts)
        if fired is None or not await store.may_trigger(self.redis, keys=self.keys):
            return None
        if fired == USAGE_SPREAD:
            await store.set_flag(self.redis, hashes=[self.keys.funds], flag="spread_fired", value=True)
        return fired

    def _limits(self, symbol: str, units: int) -> LimitsChange:
        own = self.shares.get(symbol)
        cap, share = (own.cap_units, own.max_usage_pct) if own else (0, ZERO)
        return LimitsChange(symbol=symbol, allocated_units=units, cap_units=cap, max_usage=share)

    def _inputs(self) -> str:
        """Digest of what the operator set: strategy, funds, and each symbol's weight and cap."""
        facts = [self.strategy.value, str(self.pool_units)]
        for symbol, own in sorted(self.shares.items()):
            facts.append(f"{symbol}|{plain(own.weight)}|{own.cap_units}|{plain(own.max_usage_pct)}")
        return hashlib.blake2s("\n".join(facts).encode()).hexdigest()

    def _has_new_inputs(self, status: FundsStatus) -> bool:
        """Whether what the operator set differs from what the allocations in force follow from."""
        return status.inputs != self._inputs()

    def _leaving(self, status: FundsStatus) -> bool:
        """Whether a symbol that left the settings has nothing any more and can lose its registration."""
        return any(share.registered and self._is_empty(share) for share in status.symbols.values())

    def _is_empty(self, share: TraderAllocation) -> bool:
        return share.symbol not in self.shares and share.committed_units == 0

    def _requests(self, status: FundsStatus, facts: Mapping[str, SymbolPerformance]) -> list[ShareRequest]:
        score = scores({symbol: facts.get(symbol, SymbolPerformance()) for symbol in self.shares})
        requests = []
        for symbol, now in status.symbols.items():
            own = self.shares.get(symbol)
            if own is None and (self._is_empty(now) or not now.registered):
                continue  # it left the settings and has nothing: its share goes back to the others
            requests.append(
                ShareRequest(
                    symbol=symbol,
                    weight=own.weight if own else ZERO,
                    cap_units=own.cap_units if own else 0,
                    floor_units=now.used_units,
                    score=score[symbol] if own else ZERO,
                    demand=demand(facts.get(symbol, SymbolPerformance())),
                )
            )
        return requests

    def _report(
        self,
        status: FundsStatus,
        target: Mapping[str, int],
        after: Mapping[str, int],
        reason: str,
        *,
        outcome: str,
    ) -> RebalanceReport:
        """What was done. A symbol without a target or a new allocation keeps what it has."""
        applied = outcome == APPLIED
        changes = tuple(
            SymbolChange(
                symbol=symbol,
                before=from_units(share.allocated_units),
                target=from_units(target.get(symbol, 0 if applied else share.allocated_units)),
                after=from_units(after.get(symbol, 0 if applied else share.allocated_units)),
                used=from_units(share.used_units),
                committed=from_units(share.committed_units),
            )
            for symbol, share in sorted(status.symbols.items())
            if share.registered or symbol in after
        )
        return RebalanceReport(
            at_ms=to_ms(self.clock()),
            reason=reason,
            strategy=self.strategy.value,
            applied=applied,
            outcome=outcome,
            version=status.version + int(applied),
            pool=from_units(self.pool_units),
            changes=changes,
        )


def preview(status: FundsStatus, symbol: str, side: Side, units: int) -> str:
    """What a new order of `units` would be told: a code of the reserve script by the same rules in the same order,
    or STOPPED, under which a tick places nothing.
    """
    share = status.symbols[symbol]
    if not share.registered:
        return FundCode.UNKNOWN_SYMBOL.name
    if status.stopped:
        return STOPPED
    return _code(status, share, units).name if side is Side.BUY else FundCode.OK.name


def _code(status: FundsStatus, share: TraderAllocation, units: int) -> FundCode:
    if status.paused or share.paused:
        return FundCode.PAUSED
    if share.committed_units + units > share.allocated_units:
        return FundCode.SYMBOL_LIMIT
    if status.short_units or status.committed_units + units > status.pool_units:
        return FundCode.GLOBAL_LIMIT
    return FundCode.OK
