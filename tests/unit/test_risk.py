"""Stops, limits and guards: when they fire, what they forbid, and that none of them wobbles at its edge."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.grid.plan_models import IdleReason
from tasks.risk.models import RiskMarks, Seen, StopCode, Verdict
from tasks.risk.rules import assess
from tests.support.grids import symbol_settings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def look(
    marks: RiskMarks | None = None,
    fired: int = 0,
    *,
    rules: Mapping[str, object] | None = None,
    seen: Mapping[str, str] | None = None,
    **more: str,
) -> Verdict:
    """A verdict at a price of 45000, half of 1000 quote in base, unless `seen` says otherwise."""
    base = {"price": "45000", "first_price": "45000", "last_price": "45000", "profit": "0"}
    given_ = {
        name: Decimal(value)
        for name, value in (base | {"inventory": "500", "free": "500"} | dict(seen or {}) | more).items()
    }
    price = given_["price"]
    facts = {"bid": price, "ask": price} | given_
    own = symbol_settings(lower="40000", upper="50000", cells=10, **(rules or {}))
    return assess(own, Seen(**facts, now_ms=NOW_MS, stale=False), marks or RiskMarks(), StopCode(fired))


@pytest.mark.parametrize(
    ("rules", "seen", "wanted"),
    [
        ({"stop_loss_price": "38000"}, {"price": "38000"}, StopCode.STOP_LOSS_PRICE),
        ({"stop_loss_price": "38000"}, {"price": "38000.01"}, StopCode.NONE),
        ({"take_profit_price": "52000"}, {"price": "52000"}, StopCode.TAKE_PROFIT_PRICE),
        ({"take_profit_price": "52000"}, {"price": "51999"}, StopCode.NONE),
        ({"stop_loss_quote": "20"}, {"profit": "-20"}, StopCode.STOP_LOSS_QUOTE),
        ({"stop_loss_quote": "20"}, {"profit": "-19.99"}, StopCode.NONE),
        ({"take_profit_quote": "20"}, {"profit": "20"}, StopCode.TAKE_PROFIT_QUOTE),
        ({"take_profit_quote": "20"}, {"profit": "19.99"}, StopCode.NONE),
        ({"end_at": "2026-01-02T00:00:00Z"}, {}, StopCode.TIME_LIMIT),
        ({"end_at": "2026-01-02T00:00:01Z"}, {}, StopCode.NONE),
    ],
)
def test_a_stop_fires_at_its_bound_and_not_before(
    rules: dict[str, object], seen: dict[str, str], wanted: StopCode
) -> None:
    """Each kind of stop, at its bound and just before it."""
    found = look(rules=rules, seen=seen)
    assert (found.fires, found.marks.fired) == (wanted, wanted)
    assert bool(found.marks.why) is (wanted is not StopCode.NONE)


def test_a_drawdown_counts_from_the_best_profit() -> None:
    """The best profit is remembered from tick to tick."""
    rules = {"profit_drawdown_pct": "0.25"}
    marks = look(rules=rules, profit="80").marks
    assert marks.best == 80
    assert look(marks, rules=rules, profit="60.01").fires is StopCode.NONE
    found = look(marks, rules=rules, profit="60")
    assert found.fires is StopCode.PROFIT_DRAWDOWN
    assert found.marks.why == "its profit fell from 80.00 to 60.00"
    assert look(rules=rules, profit="-5").fires is StopCode.NONE, "a loss without an earlier profit is no drawdown"


def test_a_stop_that_fired_holds_and_does_not_fire_again() -> None:
    """Neither a price farther away nor one that comes back changes it."""
    rules = {"stop_loss_price": "38000"}
    fired = look(rules=rules, price="37000")
    again = look(fired.marks, fired.fires, rules=rules, price="36000")
    assert (again.fires, again.marks.fired) == (StopCode.NONE, StopCode.STOP_LOSS_PRICE)
    risen = look(again.marks, again.marks.fired, rules=rules, price="45000")
    assert risen.marks.fired is StopCode.STOP_LOSS_PRICE, "a price that comes back does not arm it again"


def test_profit_counts_anew_after_an_operator_resumed() -> None:
    """Else a stop by amount would fire again at the next tick."""
    rules = {"take_profit_quote": "20", "profit_drawdown_pct": "0.5"}
    fired = look(rules=rules, profit="21")
    assert fired.fires is StopCode.TAKE_PROFIT_QUOTE
    resumed = look(fired.marks, StopCode.NONE, rules=rules, profit="21")
    assert (resumed.fires, resumed.marks.base, resumed.marks.best, resumed.marks.why) == (
        StopCode.NONE,
        Decimal(21),
        Decimal(0),
        "",
    )
    assert look(resumed.marks, rules=rules, profit="41").fires is StopCode.TAKE_PROFIT_QUOTE


def test_no_stop_and_no_buy_on_a_jump_until_the_next_tick_confirms_it() -> None:
    """One wrong price sells nothing."""
    rules = {"stop_loss_price": "38000", "max_price_jump_pct": "0.05"}
    first = look(rules=rules, price="30000", last_price="45000")
    assert (first.fires, first.no_buys, first.cancel_buys) == (StopCode.NONE, IdleReason.PRICE_JUMP, False)
    assert look(first.marks, rules=rules, price="30000", last_price="30000").fires is StopCode.STOP_LOSS_PRICE


def test_a_stale_price_fires_nothing() -> None:
    """Nothing is sold on a price that is too old."""
    own = symbol_settings(lower="40000", upper="50000", cells=10, stop_loss_price="38000")
    numbers = dict.fromkeys(("price", "bid", "ask", "first_price", "last_price", "profit", "inventory"), Decimal(1))
    seen = Seen(**numbers, free=Decimal(1), now_ms=NOW_MS, stale=True)
    assert assess(own, seen, RiskMarks(), StopCode.NONE).fires is StopCode.NONE


@pytest.mark.parametrize(
    ("rules", "seen", "reason", "cancels"),
    [
        ({"max_spread_pct": "0.01"}, {"bid": "45000", "ask": "45450.01"}, IdleReason.WIDE_SPREAD, False),
        ({"max_spread_pct": "0.01"}, {"bid": "45000", "ask": "45450"}, None, False),
        ({"pause_below": "45001"}, {}, IdleReason.PAUSED_BY_RULE, True),
        ({"pause_above": "44999"}, {}, IdleReason.PAUSED_BY_RULE, True),
        ({"pause_below": "45000", "pause_above": "45001"}, {}, None, False),
        ({"max_position_pct": "0.49"}, {}, IdleReason.POSITION_LIMIT, True),
        ({"max_position_pct": "0.5"}, {}, None, False),
        ({"start_at": "2026-01-02T00:00:01Z"}, {}, IdleReason.NOT_STARTED, True),
        ({"start_at": "2026-01-02T00:00:00Z"}, {}, None, False),
        ({"trigger_price": "44000"}, {}, IdleReason.NOT_STARTED, True),
        ({"trigger_price": "44000"}, {"price": "43999"}, None, False),
        (
            {"pause_from": "2026-01-01T23:59:59Z", "pause_until": "2026-01-02T00:00:01Z"},
            {},
            IdleReason.PAUSED_BY_RULE,
            True,
        ),
        ({"pause_from": "2026-01-01T00:00:00Z", "pause_until": "2026-01-02T00:00:00Z"}, {}, None, False),
    ],
)
def test_what_limits_and_guards_forbid(
    rules: dict[str, object], seen: dict[str, str], reason: IdleReason | None, cancels: bool
) -> None:
    """Each limit and guard, at its bound and just beyond it."""
    found = look(rules=rules, seen=seen)
    assert (found.no_buys, found.cancel_buys, found.no_sells) == (reason, cancels, None)


def test_too_little_base_allows_no_sells_and_both_limits_may_hold() -> None:
    """With both limits the symbol neither buys nor sells."""
    assert look(rules={"min_position_pct": "0.51"}).no_sells is IdleReason.POSITION_LIMIT
    assert look(rules={"min_position_pct": "0.5"}).no_sells is None
    both = look(rules={"min_position_pct": "0.51", "pause_below": "46000"})
    assert (both.no_buys, both.no_sells) == (IdleReason.PAUSED_BY_RULE, IdleReason.POSITION_LIMIT)


def test_a_trigger_that_was_reached_stays_reached() -> None:
    """The price may leave it again."""
    rules = {"trigger_price": "44000"}
    reached = look(rules=rules, price="44000").marks
    assert look(reached, rules=rules, price="45000").no_buys is None


def test_a_stop_holds_while_the_settings_pause_buys() -> None:
    """A pause keeps the stops alive."""
    found = look(rules={"pause_below": "46000", "stop_loss_price": "38000"}, price="37000")
    assert found.fires is StopCode.STOP_LOSS_PRICE


@given(st.lists(st.sampled_from(["44999", "45001"]), min_size=2, max_size=20))
def test_a_price_at_the_edge_of_a_pause_does_not_switch_it_on_and_off(prices: list[str]) -> None:
    """The pause ends only when the price is back by a margin."""
    rules, marks, states = {"pause_below": "45000"}, RiskMarks(), []
    for price in prices:
        found = look(marks, rules=rules, price=price)
        marks = found.marks
        states.append(found.no_buys is not None)
    assert states == sorted(states), "once on, it stays on"


AMOUNTS = st.decimals(-500, 500, places=2)


@given(
    st.builds(
        RiskMarks,
        base=AMOUNTS,
        best=AMOUNTS,
        fired=st.sampled_from(StopCode),
        sell_only=st.booleans(),
        buy_only=st.booleans(),
        outside=st.booleans(),
        started=st.booleans(),
    ),
    AMOUNTS,
    st.sampled_from(StopCode),
    st.booleans(),
)
def test_settings_without_rules_are_as_those_that_name_each_rule_as_absent(
    marks: RiskMarks, profit: Decimal, fired: StopCode, stale: bool
) -> None:
    """Whether the file leaves a rule out, or settings from Redis say that it is none."""
    short = symbol_settings(lower="40000", upper="50000", cells=10)
    whole = type(short).model_validate(short.model_dump())
    assert short.model_fields_set < whole.model_fields_set
    price = Decimal(45_000)
    seen = Seen(price, price, price, price, price, profit, Decimal(500), Decimal(500), NOW_MS, stale)
    assert assess(short, seen, marks, fired) == assess(whole, seen, marks, fired)
