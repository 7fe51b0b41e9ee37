"""The pot as a state machine: a plain model predicts every result code of the real scripts on a real server.

Crashes are in it: any operation may be repeated as if its answer had been lost, under the old or a newer lease.
Shares are predicted by `tests.support.funds_model`, not copied; only how they were floored to units is taken over.
Run the long profile by hand: pytest tests/stateful --long
"""

import hashlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tasks.base.events import EventKind
from tasks.exchange.models import Side
from tasks.funds import store
from tasks.funds.models import FundCode, FundsStatus, Repair
from tests.stateful.base import KEYS, SYMBOLS, symbols
from tests.stateful.changes import Changes


class FundsMachine(Changes):
    """Every rule compares codes, every invariant only reads."""

    @rule(short=st.integers(0, 200), late=st.booleans())
    def compare_with_the_balance(self, short: int, late: bool) -> None:
        """The exchange surely holds `short` less than is promised; above 0, buys stop. `late`: another was quicker."""
        pot, read = self.pot, str(self.run(self.redis.get(KEYS.quote_watch)) or "")
        before, first = pot.short, f"look {self.counter}" if short else ""
        self.counter += 1
        if not late:
            pot.short = short
            self.shortages += pot.short > 0 and before == 0
        told = self.run(
            store.guard(
                self.redis,
                keys=KEYS,
                short_units=short,
                promised_units=pot.pool - pot.used,
                read="another" if late else read,
                first=first,
            )
        )
        assert told == (pot.short, before)
        assert (self.run(self.redis.get(KEYS.quote_watch)) or "") == (read if late else first)
        events: Any = self.run(self.redis.xrange(KEYS.events))
        kinds = [fields["type"] for _, fields in events]
        assert kinds.count(EventKind.FUNDS_SHORT) == self.shortages
        assert kinds.count(EventKind.FUNDS_RESTORED) == self.shortages - (pot.short > 0)

    @rule(symbol=symbols, side=st.sampled_from(Side), units=st.integers(1, 500))
    def a_preview_says_what_a_reservation_would_get(self, symbol: str, side: Side, units: int) -> None:
        code = self.pot.judge(symbol, units if side is Side.BUY else 0)
        stopped = self.pot.shares[symbol].registered and self.pot.is_stopped
        answer = self.run(self.allocator().check_trade_allowed(symbol, side, Decimal(units).scaleb(-8)))
        assert answer == (code is FundCode.OK, "STOPPED" if stopped else code.name)

    @rule(
        symbol=symbols,
        wrong=st.sampled_from(["none", "pot used", "pot reserved", "used", "reserved", "leaked"]),
        by=st.integers(-50, 50).filter(bool),
        journal_moves=st.booleans(),
    )
    def repair(self, symbol: str, wrong: str, by: int, journal_moves: bool) -> None:
        """Money set wrong on purpose is set right again; not by a repair whose journal has moved on meanwhile."""
        read = self.repairs()
        self.damage(symbol, wrong, by)
        if journal_moves:
            self.run(self.redis.hset(KEYS.intents(symbol), "another", "order"))
            before = self.money()
            assert self.run(store.repair(self.redis, keys=KEYS, symbols=read)) is FundCode.CONFLICT
            assert self.money() == before
            self.run(self.redis.hdel(KEYS.intents(symbol), "another"))
        mended = self.run(store.repair(self.redis, keys=KEYS, symbols=self.repairs()))
        assert mended is (FundCode.ALREADY if wrong == "none" else FundCode.OK)
        assert self.run(store.repair(self.redis, keys=KEYS, symbols=self.repairs())) is FundCode.ALREADY

    def damage(self, symbol: str, wrong: str, by: int) -> None:
        places = {
            "pot used": (KEYS.funds, "used"),
            "pot reserved": (KEYS.funds, "reserved"),
            "used": (KEYS.funds_symbol(symbol), "used"),
            "reserved": (KEYS.funds_symbol(symbol), "reserved"),
            "leaked": (KEYS.reservations(symbol), "nobody's"),
        }
        if wrong in places:
            self.run(self.redis.hincrby(*places[wrong], by))

    def repairs(self) -> list[Repair]:
        """What the model knows the money to be, and the digest of the journal and cells that stand now."""
        return [
            Repair(
                symbol=name,
                digest=self.digest(name),
                used_units=share.used,
                reservations=share.reservations,
            )
            for name, share in self.pot.shares.items()
        ]

    def digest(self, symbol: str) -> str:
        found: list[str] = []
        for key in (KEYS.cells(symbol), KEYS.intents(symbol)):
            for name, text in self.run(self.redis.hgetall(key)).items():
                found += [str(name), str(text)]
        return hashlib.sha1("\n".join(found).encode(), usedforsecurity=False).hexdigest()

    def money(self) -> list[Any]:
        """All that a repair may change."""
        keys = [KEYS.funds, *map(KEYS.funds_symbol, SYMBOLS), *map(KEYS.reservations, SYMBOLS)]
        return [self.run(self.redis.hgetall(key)) for key in keys]

    @precondition(lambda self: self.repeat is not None)
    @rule()
    def the_answer_was_lost_and_the_call_is_repeated(self) -> None:
        assert self.repeat is not None
        self.repeat()

    # --- what always holds -----------------------------------------------------------------------------
    @invariant()
    def what_always_holds(self) -> None:
        """One reading of the server, looked at in four ways."""
        status = self.status()
        self.server_and_model_agree(status)
        self.no_more_is_shared_out_than_there_is(status)
        self.nothing_held_costs_nothing(status)
        self.every_refusal_is_counted()
        note(f"committed {self.pot.committed} of {self.pot.pool}")

    def server_and_model_agree(self, status: FundsStatus) -> None:
        pot = self.pot
        for name, share in pot.shares.items():
            seen = status.symbols[name]
            assert (seen.used_units, seen.reserved_units) == (share.used, share.reserved)
            assert (seen.registered, seen.allocated_units) == (share.registered, share.allocated)
            assert (seen.cap_units, seen.paused) == (share.cap, share.paused)
        assert (status.used_units, status.reserved_units) == (pot.used, pot.committed - pot.used)
        assert (status.pool_units, status.version) == (pot.pool, pot.version)
        assert (status.paused, status.stopped) == (pot.paused, pot.is_stopped)
        assert (status.short_units, status.max_committed_units) == (pot.short, pot.max_committed)
        assert (status.stepped_ms, status.spread_fired) == (pot.stepped_ms, pot.spread_fired)

    def no_more_is_shared_out_than_there_is(self, status: FundsStatus) -> None:
        """Σ allocated within the pool, unless the inventory had cost more than the pool when it was written."""
        allocated = sum(share.allocated_units for share in status.symbols.values())
        assert allocated <= max(status.pool_units, self.used_at_write)

    def nothing_held_costs_nothing(self, status: FundsStatus) -> None:
        """`used` of a symbol is 0 exactly when its lots cost nothing, and no amount is ever negative."""
        for name, share in status.symbols.items():
            assert min(share.allocated_units, share.used_units, share.reserved_units) >= 0
            assert (share.used_units == 0) == (sum(self.pot.shares[name].lots) == 0)

    def every_refusal_is_counted(self) -> None:
        counts: list[Any] = self.run(self.redis.hvals(KEYS.blocked_counts))
        assert sum(map(int, counts)) == self.refused


@pytest.fixture
def machine(either_redis_url: str) -> type[FundsMachine]:
    """The machine on this test's server: each kind in turn."""
    FundsMachine.url = either_redis_url
    return FundsMachine


def test_model_and_scripts_agree(machine: type[FundsMachine], pytestconfig: pytest.Config) -> None:
    """80 runs of 50 steps on each kind of server; with --long 2000."""
    long = bool(pytestconfig.getoption("--long"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2000 if long else 80,
            stateful_step_count=50,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
