"""The state machine of the pot, third part: how the pool is shared, predicted by an independent reference."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FundCode, FundsStatus, LimitsChange, RebalanceReport, SymbolPerformance
from tasks.funds.rebalancing import APPLIED, MANUAL, SCHEDULED
from tasks.settings.model import AllocationStrategy
from tests.stateful.base import KEYS, SYMBOLS, TRIGGER_GAP_MS, UNITS, symbols
from tests.stateful.orders import Orders
from tests.support.funds_model import Claim, Share, fair_shares, step_towards, weights_of

FLOORED = len(SYMBOLS)  # units that flooring shares to whole units may move
TOLERANCE = Fraction(1, 10)
STEP = Fraction(1, 4)
EDGE = Fraction(3, 10)  # a spread of exactly this fires or does not, as decimals happen to round
STEP_GAP_MS = 59 * 60_000
NOTHING = "nothing to change"
WITHIN = "the step is within the tolerance"
TOO_SOON = "the last step is less than an hour ago"

performance = st.builds(
    SymbolPerformance,
    return_72h=st.integers(-20, 60).map(lambda number: Decimal(number) / 1000),
    outside=st.booleans(),
    refused=st.booleans(),
)
every_symbol = st.fixed_dictionaries({}, optional=dict.fromkeys(SYMBOLS, performance))


def units_of(amount: Decimal) -> int:
    """Quote → units."""
    return int(amount.scaleb(8))


def after_of(report: RebalanceReport, claims: Mapping[str, Claim]) -> dict[str, int]:
    """Units from now on, by symbol with a claim."""
    return {change.symbol: units_of(change.after) for change in report.changes if change.symbol in claims}


def near(found: Mapping[str, int], exact: Mapping[str, Fraction]) -> bool:
    """The same symbols with the same shares, but for what is lost by flooring to whole units."""
    note(f"shares {dict(found)}, exactly {exact}")
    return found.keys() == exact.keys() and all(abs(found[name] - share) <= FLOORED for name, share in exact.items())


def differs(now: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether some share is off by more than a tenth of what is in force, or the symbols are others."""
    return now.keys() != wanted.keys() or any(
        abs(units - now[name]) > TOLERANCE * now[name] for name, units in wanted.items()
    )


class Sharing(Orders):
    """Its rules: rebalances of every kind, triggers, limits that do not fit."""

    @property
    def inputs(self) -> Any:
        return self.strategy, self.max_usage, {name: (weight, self.caps[name]) for name, weight in self.weights.items()}

    def allocator(self) -> GlobalFundAllocator:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.now_ms)
        total = Decimal(UNITS).scaleb(-8)
        allocator = GlobalFundAllocator(self.redis, KEYS, total, self.max_usage, self.strategy, clock=lambda: moment)
        for symbol, weight in self.weights.items():
            allocator.register_trader(symbol, weight=weight, max_usage_pct=self.caps[symbol])
        return allocator

    @precondition(lambda self: self.pot.spread != EDGE)
    @rule(force=st.booleans(), reason=st.sampled_from([SCHEDULED, MANUAL]), facts=every_symbol)
    def rebalance(self, force: bool, reason: str, facts: Mapping[str, SymbolPerformance]) -> None:
        """Predict whether, why and how far the shares move, then compare."""
        facts = {name: one for name, one in facts.items() if name in self.weights}

        def attempt() -> None:
            due = self.why_due(force, reason, facts)
            report = self.run(self.allocator().rebalance_if_needed(force, reason, facts))
            if due is None:
                assert (report.applied, report.outcome) == (False, "not needed")
            else:
                assert report.reason == due
                self.follow(report, facts)
            assert report.version == self.pot.version

        attempt()
        self.repeat = attempt

    @property
    def at_once(self) -> bool:
        """Whether the shares go all the way: an operator's inputs changed, or more is allocated than the pool has."""
        return self.inputs != self.inputs_in_force or self.pot.exceeds_pool

    def why_due(self, force: bool, reason: str, facts: Mapping[str, SymbolPerformance]) -> str | None:
        """The reason of the rebalance that must follow; None for none. Arms, fires and locks the triggers."""
        pot = self.pot
        leaving = any(name not in self.weights and pot.shares[name].committed == 0 for name in pot.registered)
        if force or leaving or self.at_once:
            return reason
        fired = pot.trigger(facts)
        if pot.spread_fired and pot.spread < Fraction(1, 4):
            pot.spread_fired = False
        if fired is None or self.is_locked:
            return None
        self.lock_ends_ms = self.time_ms + TRIGGER_GAP_MS
        pot.spread_fired |= fired == "usage spread"
        return fired

    def claims(self, facts: Mapping[str, SymbolPerformance]) -> dict[str, Claim]:
        """What each symbol may get; one that left the settings keeps what it has used and gets no more."""
        found = weights_of(self.strategy, self.weights, facts)
        claims = {}
        for name, share in self.pot.shares.items():
            if name in self.weights or (share.registered and share.committed):
                cap = int(UNITS * self.caps[name]) if name in self.weights else 0
                claims[name] = Claim(found.get(name, Fraction(0)), share.used, cap)
        return claims

    def follow(self, report: RebalanceReport, facts: Mapping[str, SymbolPerformance]) -> None:
        """Hold the report against the reference, then take over how it was floored."""
        now, claims, pool, at_once = self.pot.registered, self.claims(facts), int(UNITS * self.max_usage), self.at_once
        told = {change.symbol: change for change in report.changes}
        assert told.keys() >= claims.keys() | now.keys()
        assert {name: units_of(told[name].before) for name in now} == now
        target = {name: units_of(told[name].target) for name in claims}
        assert near(target, fair_shares(pool, claims))
        stepped = False
        if not at_once and not differs(now, target):
            expected, unwritten = now, NOTHING
        elif at_once or self.strategy is not AllocationStrategy.DYNAMIC or report.reason == MANUAL:
            expected, unwritten = target, NOTHING
        elif self.now_ms - self.pot.stepped_ms < STEP_GAP_MS:
            expected, unwritten = self.kept(report, claims, pool), TOO_SOON
        else:
            expected, stepped = self.a_step_on(report, claims, target, pool), True
            unwritten = WITHIN if report.reason == SCHEDULED else NOTHING
        written = self.write(expected, pool, stepped)
        if written:
            assert {name: units_of(told[name].after) for name in claims} == expected
        elif expected != now:
            unwritten = NOTHING  # a symbol that left still has something, and nothing else changes
        assert (report.applied, report.outcome) == (written, APPLIED if written else unwritten)

    def kept(self, report: RebalanceReport, claims: Mapping[str, Claim], pool: int) -> dict[str, int]:
        """Within an hour of the last step: what is in force; without those who left, and not below what is used."""
        now = self.pot.registered
        if claims.keys() == now.keys():
            return now
        stay = {name: now[name] for name in claims}
        after = after_of(report, claims)
        assert near(after, step_towards(min(pool, sum(stay.values())), claims, stay, stay, Fraction(0)))
        return after

    def a_step_on(
        self, report: RebalanceReport, claims: Mapping[str, Claim], target: Mapping[str, int], pool: int
    ) -> dict[str, int]:
        """A quarter of the way, unless that is too little for a scheduled rebalance."""
        now, after = self.pot.registered, after_of(report, claims)
        exact = step_towards(pool, claims, now, target, STEP)
        same_symbols = exact.keys() == now.keys()
        beyond = [abs(share - now[name]) - TOLERANCE * now[name] for name, share in exact.items() if name in now]
        if report.outcome == WITHIN:
            assert report.reason == SCHEDULED
            assert same_symbols
            assert max(beyond) <= FLOORED
            return now
        assert near(after, exact)
        assert report.reason != SCHEDULED or not same_symbols or max(beyond) >= -FLOORED
        return after

    def write(self, wanted: Mapping[str, int], pool: int, stepped: bool) -> bool:
        """Put the allocations in force; whether anything changed. Who left goes once it has nothing any more."""
        pot, before = self.pot, self.pot.registered
        for name, share in pot.shares.items():
            kept = name in wanted or (share.registered and bool(share.cells or share.intents))
            self.raise_fence(share, kept)
            share.registered, share.allocated = kept, wanted.get(name, 0)
        if pot.registered == before and self.inputs == self.inputs_in_force:
            return False
        for name, share in pot.shares.items():
            share.cap = int(UNITS * self.caps[name]) if name in self.weights else 0
        if pot.pool != pool:
            pot.max_committed = pot.committed
        pot.pool, self.inputs_in_force, self.used_at_write = pool, self.inputs, pot.used
        pot.stepped_ms = self.now_ms if stepped else pot.stepped_ms
        pot.version += 1
        return True

    @rule(minutes=st.sampled_from([30, 58, 59, 60]), facts=every_symbol)
    def scheduled_again(self, minutes: int, facts: Mapping[str, SymbolPerformance]) -> None:
        """Two scheduled rebalances, some time apart."""
        self.rebalance(force=True, reason=SCHEDULED, facts=facts)
        self.time_passes(minutes)
        self.rebalance(force=True, reason=SCHEDULED, facts=facts)

    @precondition(lambda self: self.pot.spread != EDGE)
    @rule(refused=st.sets(symbols, min_size=1))
    def a_look_after_refusals(self, refused: set[str]) -> None:
        """The minute's look: symbols were refused for their own limit."""
        facts = {name: SymbolPerformance(refused=name in refused) for name in SYMBOLS}
        self.rebalance(force=False, reason="monitor", facts=facts)

    @rule(symbol=symbols, percent=st.sampled_from([0, 20, 24, 26, 29, 31, 60]), facts=every_symbol)
    def usage_goes_to(self, symbol: str, percent: int, facts: Mapping[str, SymbolPerformance]) -> None:
        """The symbol buys or sells until so much of its allocation is used; then the minute's look."""
        share = self.pot.shares[symbol]
        more = share.allocated * percent // 100 - share.used
        if more > 0:
            self.buy(symbol, more)
        elif more < 0:
            self.sell_all(symbol)
            self.buy(symbol, share.allocated * percent // 100)
        if self.pot.spread != EDGE:
            self.rebalance(force=False, reason="monitor", facts=facts)

    @precondition(lambda self: any(share.reservations for share in self.pot.shares.values()))
    @rule(data=st.data(), facts=every_symbol)
    def a_fill_comes_between_reading_and_writing(
        self, data: st.DataObject, facts: Mapping[str, SymbolPerformance]
    ) -> None:
        """The inventory's cost rises meanwhile: no allocation is written below it."""
        symbol, order = self.some_order(data)
        facts = {name: one for name, one in facts.items() if name in self.weights}
        allocator, before = self.allocator(), self.claims(facts)
        read = allocator.get_global_status_summary

        async def read_and_fill() -> FundsStatus:
            seen = await read()
            allocator.get_global_status_summary = read  # type: ignore[method-assign]
            await self.filled_in_full(symbol, order)
            return seen

        allocator.get_global_status_summary = read_and_fill  # type: ignore[method-assign]
        report = self.run(allocator.rebalance_if_needed(True, MANUAL, facts))
        assert report.applied == self.adopt()
        if report.applied:
            pool, now = int(UNITS * self.max_usage), self.pot.registered
            written = {name: now[name] for name in before}
            assert any(near(written, fair_shares(pool, claims)) for claims in (before, self.claims(facts)))
            assert all(share.allocated >= share.used for share in self.pot.shares.values() if share.registered)

    def raise_fence(self, share: Share, stays: bool) -> None:
        """A symbol that is unregistered gets a higher fence: a tick of it that is under way writes nothing any more."""
        if share.registered and not stays and share.fence:
            share.fence += 1

    def adopt(self) -> bool:
        """Take over what the server wrote, where two outcomes are right; whether it wrote."""
        seen, pot = self.status(), self.pot
        for name, share in pot.shares.items():
            now = seen.symbols[name]
            self.raise_fence(share, now.registered)
            share.registered, share.allocated, share.cap = now.registered, now.allocated_units, now.cap_units
        if seen.version == pot.version:
            return False
        pot.max_committed = pot.committed if pot.pool != seen.pool_units else pot.max_committed
        pot.pool, pot.version = seen.pool_units, pot.version + 1
        self.inputs_in_force, self.used_at_write = self.inputs, pot.used
        return True

    @rule(symbol=symbols, fault=st.sampled_from(["late", "other settings", "below used", "above the pool"]))
    def limits_that_do_not_fit_are_refused_whole(self, symbol: str, fault: str) -> None:
        """Another writer was first; or other settings are in force by now; or inventory cost more than a share; or the
        sum is beyond the pool and the inventory's cost.
        """
        pot = self.pot
        wanted = {name: share.used for name, share in pot.shares.items()}
        if fault == "below used":
            wanted[symbol] -= 1
        if fault == "above the pool":
            wanted[symbol] += max(pot.pool, pot.used) - pot.used + 1
        if wanted[symbol] < 0:
            return
        limits = [
            LimitsChange(symbol=name, allocated_units=units, cap_units=UNITS, max_usage=Decimal(1))
            for name, units in wanted.items()
        ]
        if fault == "other settings":
            self.run(self.redis.hset(KEYS.settings, "version", "2"))
        refused = self.run(
            store.set_limits(
                self.redis,
                keys=KEYS,
                expected_version=pot.version - (fault == "late"),
                pool_units=pot.pool,
                limits=limits,
                unregister=[],
                report="{}",
                inputs="others",
                settings_version=1,
            )
        )
        self.run(self.redis.delete(KEYS.settings))
        assert refused == (FundCode.CONFLICT, pot.version)
