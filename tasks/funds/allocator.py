"""`GlobalFundAllocator`: the one desk that hands out the pot. Holds no state of its own; Redis has all of it."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.money import ZERO, from_units, units_down, units_up
from tasks.base.redis import RedisClient
from tasks.base.settings import AllocationStrategy, Settings
from tasks.funds import store
from tasks.funds.models import (
    FillMove,
    FundCode,
    FundsStatus,
    RebalanceReport,
    Reservation,
    Reserved,
    ShareRequest,
    SymbolChange,
    TraderAllocation,
    Write,
)
from tasks.funds.rules import USAGE_SPREAD_LIMIT, demand, performance_score, share_pool, spread_of_usage

log = logging.getLogger(__name__)
_TRIES = 5


@dataclass(frozen=True)
class Share:
    """What the settings say of one symbol's share."""

    weight: Decimal
    cap_units: int


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
        for symbol, own in settings.symbols.items():
            allocator.register_trader(symbol, weight=own.weight, max_usage_pct=own.max_usage_pct)
        return allocator

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
        self.shares[symbol] = Share(weight=weight, cap_units=units_down(self.total_funds * max_usage_pct))

    async def check_trade_allowed(self, symbol: str, quote: Decimal) -> tuple[bool, str]:
        """Whether a buy of `quote` (fee included) would be granted now, and why not. A preview: binds nothing."""
        status = await store.status(self.redis, keys=self.keys, symbols=[symbol])
        code = preview(status, symbol, units_up(quote))
        return code is FundCode.OK, code.name

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
        """The whole pot now: every registered or configured symbol, one consistent reading."""
        registered = await store.registered_symbols(self.redis, keys=self.keys)
        return await store.status(self.redis, keys=self.keys, symbols=sorted({*registered, *self.shares}))

    async def rebalance_if_needed(
        self,
        force: bool = False,
        reason: str = "scheduled",
        profits: Mapping[str, Decimal] | None = None,
        *,
        only_open: bool = False,
    ) -> RebalanceReport:
        """Share the pool anew when forced, when the set-up changed, or when usage spreads by more than 0.3.

        `profits`: profit of the last closed cells by symbol, for the dynamic strategy. Running it twice changes
        nothing; of two at once, one writes and the other finds its work done. `only_open`: leave a pot that nobody has
        shared yet as it is, for instance because Redis has just lost it.
        """
        for _ in range(_TRIES):
            status = await self.get_global_status_summary()
            if only_open and status.version == 0:
                return self._report(status, {}, reason, outcome="the pot is not open")
            requests = self._requests(status, profits or {})
            wanted = share_pool(self.strategy, self.pool_units, requests)
            if not force and not self._due(status, set(wanted)):
                return self._report(status, {}, reason, outcome="not needed")
            report = self._report(status, wanted, reason, outcome="applied")
            code, version = await store.set_limits(
                self.redis,
                keys=self.keys,
                expected_version=status.version,
                pool_units=self.pool_units,
                allocations=wanted,
                unregister=[symbol for symbol in status.symbols if symbol not in wanted],
                report=report.model_dump_json(),
                inputs=self._inputs(requests, profits or {}),
            )
            if code is FundCode.OK:
                log.info("rebalanced", extra={"reason": reason, "version": version})
                return report
            if code is FundCode.ALREADY:
                return self._report(status, {}, reason, outcome="nothing to change")
        return self._report(status, {}, reason, outcome="others were first")

    def _inputs(self, requests: Sequence[ShareRequest], profits: Mapping[str, Decimal]) -> str:
        """Digest of everything the shares follow from but the shares themselves.

        The dynamic score looks at the allocation in force; without this, each run would move what the last one set.
        """
        facts = [self.strategy.value, str(self.pool_units)]
        for request in requests:
            own = (request.symbol, request.weight.normalize(), request.cap_units, request.floor_units)
            facts.append("|".join(map(str, (*own, profits.get(request.symbol, ZERO).normalize()))))
        return hashlib.blake2s("\n".join(facts).encode()).hexdigest()

    def _due(self, status: FundsStatus, wanted: set[str]) -> bool:
        registered = {name for name, share in status.symbols.items() if share.registered}
        if registered != wanted or status.pool_units != self.pool_units:
            return True
        return spread_of_usage([share.usage for share in status.symbols.values()]) > USAGE_SPREAD_LIMIT

    def _requests(self, status: FundsStatus, profits: Mapping[str, Decimal]) -> list[ShareRequest]:
        requests = []
        for symbol, now in status.symbols.items():
            own = self.shares.get(symbol)
            if own is None and now.committed_units == 0:
                continue  # no longer configured and nothing committed: its share goes back to the others
            allocated = from_units(now.allocated_units)
            requests.append(
                ShareRequest(
                    symbol=symbol,
                    weight=own.weight if own else ZERO,
                    cap_units=own.cap_units if own else 0,
                    floor_units=now.committed_units,
                    score=performance_score(profits.get(symbol, ZERO), allocated),
                    demand=demand(now.committed_units, now.allocated_units),
                )
            )
        return requests

    def _report(self, status: FundsStatus, wanted: Mapping[str, int], reason: str, *, outcome: str) -> RebalanceReport:
        """What was done; without `wanted` nothing was, and every symbol keeps its allocation."""
        changes = tuple(
            SymbolChange(
                symbol=symbol,
                before=from_units(share.allocated_units),
                after=from_units(wanted.get(symbol, 0) if wanted else share.allocated_units),
                committed=from_units(share.committed_units),
            )
            for symbol, share in sorted(status.symbols.items())
        )
        return RebalanceReport(
            at_ms=to_ms(self.clock()),
            reason=reason,
            strategy=self.strategy.value,
            applied=bool(wanted),
            outcome=outcome,
            version=status.version + int(bool(wanted)),
            pool=from_units(self.pool_units),
            changes=changes,
        )


def preview(status: FundsStatus, symbol: str, units: int) -> FundCode:
    """The code a new reservation of `units` would get, by the same rules in the same order as the script."""
    share = status.symbols[symbol]
    if not share.registered:
        return FundCode.UNKNOWN_SYMBOL
    if units == 0:
        return FundCode.OK
    if status.paused or share.paused:
        return FundCode.PAUSED
    if share.committed_units + units > share.allocated_units:
        return FundCode.SYMBOL_LIMIT
    if status.short_units or status.committed_units + units > status.pool_units:
        return FundCode.GLOBAL_LIMIT
    return FundCode.OK
