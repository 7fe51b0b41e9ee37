"""Circuit breaker rules: they open, probe one at a time, and close after a success."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import ExchangeError, ExchangeUnavailable, StateError, UnknownSymbol
from tasks.exchange.limits.breaker_store import outcomes
from tasks.exchange.limits.budget import BudgetExhausted
from tasks.exchange.limits.circuit_breaker import Breaker, BreakerRules, Outcome, Phase, after_tick, before_tick

ROW = BreakerRules(threshold=3, window_ms=60_000, consecutive=True, first_wait_ms=1000, max_wait_ms=8000, probe_ms=5000)
MANY = replace(ROW, consecutive=False)
S, F, N = Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL


def opened(rules: BreakerRules = ROW, at_ms: int = 0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for number in range(rules.threshold):
        breaker = after_tick(breaker, rules, at_ms, "w", F, f"S{number}", "timeout")
    assert breaker.phase is Phase.OPEN
    return breaker


def test_only_failures_consecutive_open_a_symbols_breaker() -> None:
    """A success in between starts the count anew; what says nothing changes nothing."""
    breaker = Breaker()
    for outcome in (F, F, S, F, N, F):
        breaker = after_tick(breaker, ROW, 1, "w", outcome, "BTC")
        assert breaker.phase is Phase.CLOSED
    assert after_tick(breaker, ROW, 1, "w", F, "BTC", "timeout").phase is Phase.OPEN


def test_the_exchanges_breaker_counts_each_symbol_once_by_its_latest_tick() -> None:
    """Twenty failures of one symbol are one; a success strikes the symbol; old failures do not count."""
    breaker = Breaker()
    for _ in range(20):
        breaker = after_tick(breaker, MANY, 1, "w", F, "BTC")
    breaker = after_tick(breaker, MANY, 1, "w", F, "ETH")
    breaker = after_tick(breaker, MANY, 1, "w", S, "BTC")
    breaker = after_tick(breaker, MANY, 2, "w", F, "BNB")
    assert breaker.phase is Phase.CLOSED
    assert after_tick(breaker, MANY, 70_000, "w", F, "SOL").phase is Phase.CLOSED
    assert after_tick(breaker, MANY, 3, "w", F, "SOL", "timeout").phase is Phase.OPEN


def test_open_waits_then_lets_one_probe_through() -> None:
    """Nobody before the time; then the first comer; the others wait for it."""
    breaker = opened()
    assert before_tick(breaker, ROW, 999, "a")[1] == (False, 1, False)
    breaker, decision = before_tick(breaker, ROW, 1000, "a")
    assert decision.allowed
    assert decision.probe
    assert not before_tick(breaker, ROW, 1001, "b")[1].allowed
    assert after_tick(breaker, ROW, 1002, "b", S, "BTC") == breaker, "only the probe's word counts"
    assert after_tick(breaker, ROW, 1002, "a", S, "BTC") == Breaker(since_ms=1002)


def test_each_failed_probe_doubles_the_wait_up_to_the_bound() -> None:
    """1, 2, 4, 8, 8 s."""
    breaker, now, waits = opened(), 0, []
    for _ in range(5):
        waits.append(breaker.retry_at_ms - now)
        now = breaker.retry_at_ms
        breaker, _ = before_tick(breaker, ROW, now, "a")
        breaker = after_tick(breaker, ROW, now, "a", F, "BTC", "timeout")
    assert waits == [1000, 2000, 4000, 8000, 8000]


def test_a_probe_that_says_nothing_makes_room_for_the_next() -> None:
    """No longer wait, no closing."""
    breaker, _ = before_tick(opened(), ROW, 1000, "a")
    breaker = after_tick(breaker, ROW, 1100, "a", N, "BTC")
    assert breaker.phase is Phase.OPEN
    assert before_tick(breaker, ROW, 1100, "b")[1].probe


def test_a_ban_opens_until_its_end() -> None:
    """From any phase; afterwards one probe decides."""
    probing, _ = before_tick(opened(), ROW, 1000, "a")
    for breaker in (Breaker(), opened(), probing):
        banned, decision = before_tick(breaker, ROW, 1000, "a", banned_until_ms=50_000)
        assert (banned.phase, decision) == (Phase.OPEN, (False, 49_000, False))
        assert not before_tick(banned, ROW, 49_999, "b")[1].allowed
        assert before_tick(banned, ROW, 50_000, "b")[1].probe


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, (S, S)), (ExchangeUnavailable("x"), (F, F)), (StateError("x"), (N, N)), (TypeError("x"), (N, N))],
)
def test_what_a_ticks_end_says(error: Exception | None, expected: tuple[Outcome, Outcome]) -> None:
    """Only the exchange's faults count against it, and a fault of one symbol not against the whole exchange."""
    assert outcomes(error) == expected


def test_a_call_we_refused_ourselves_is_nobodys_failure() -> None:
    """A spent budget must not open breakers; a rejected order is its symbol's matter."""
    error = ExchangeUnavailable("spent")
    error.__cause__ = BudgetExhausted("spent", 5)
    assert outcomes(error) == (N, N)
    assert outcomes(ExchangeError("no")) == (F, N)
    assert outcomes(UnknownSymbol("delisted")) == (F, N), "nothing is wrong with the exchange"


@dataclass
class World:
    """Workers that ask, tick and tell, or vanish in the middle."""

    rules: BreakerRules
    breaker: Breaker = field(default_factory=Breaker)
    now: int = 0
    probes: dict[str, int] = field(default_factory=dict)  # whose → until when it counts

    def before(self, who: str) -> None:
        """Ask; a granted probe may only start when no other one counts any more."""
        before = self.breaker.phase
        self.breaker, decision = before_tick(self.breaker, self.rules, self.now, who)
        if before is not Phase.CLOSED:
            assert decision.allowed == decision.probe
        if decision.probe:
            others = [name for name, until in self.probes.items() if name != who and until > self.now]
            assert not others, "two probes at a time"
            self.probes[who] = self.now + self.rules.probe_ms
        assert decision.allowed or decision.wait_ms > 0

    def after(self, who: str, outcome: Outcome) -> None:
        """Tell; a success of the probe that counts closes."""
        counts = self.breaker.phase is Phase.HALF_OPEN and self.breaker.probe == who
        self.breaker = after_tick(self.breaker, self.rules, self.now, who, outcome, who)
        if counts:
            self.probes.pop(who, None)
            assert (self.breaker.phase is Phase.CLOSED) == (outcome is S)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.sampled_from(["before", "after", "vanish"]),
        st.sampled_from("abcd"),
        st.sampled_from([S, F, N]),
    ),
    max_size=80,
)


@given(rules=st.sampled_from([ROW, MANY]), steps=STEPS)
def test_never_two_probes_always_one_in_the_end(
    rules: BreakerRules, steps: list[tuple[int, str, str, Outcome]]
) -> None:
    """Whatever happens: one probe at a time, a probe within the longest wait, closed after its success."""
    world = World(rules)
    for pause, step, who, outcome in steps:
        world.now += pause
        if step == "before":
            world.before(who)
        elif step == "after":
            world.after(who, outcome)
    world.now += rules.max_wait_ms + rules.probe_ms
    world.before("z")
    world.after("z", S)
    assert world.breaker.phase is Phase.CLOSED
