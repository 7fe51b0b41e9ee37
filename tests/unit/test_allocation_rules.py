"""Sharing the pool."""

import random
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tasks.funds.models import ShareRequest, SymbolPerformance
from tasks.funds.rules import demand, differs, scores, share_pool, spread_of_usage, stepped
from tasks.settings.model import AllocationStrategy

POOL = 1_000_000


def request(name: str, **changes: object) -> ShareRequest:
    """Weight 1, cap the whole pool, nothing committed."""
    base: dict[str, object] = {"symbol": name, "weight": 1, "cap_units": POOL, "floor_units": 0}
    return ShareRequest.model_validate(base | changes)


@st.composite
def requests(draw: st.DrawFn) -> list[ShareRequest]:
    """Up to 30 symbols with any weights, caps and used sums."""
    return [
        request(
            f"S{number}",
            weight=draw(st.decimals(0, 1000, places=2)),
            cap_units=draw(st.integers(0, POOL * 2)),
            floor_units=draw(st.integers(0, POOL // 20)),
            score=draw(st.decimals("0.5", 2, places=3)),
            demand=draw(st.sampled_from(["0.5", "1"])),
        )
        for number in range(draw(st.integers(1, 30)))
    ]


@given(st.sampled_from(AllocationStrategy), requests(), st.randoms(use_true_random=False))
def test_every_strategy_keeps_the_promises(
    strategy: AllocationStrategy, asked: list[ShareRequest], rng: random.Random
) -> None:
    """Σ ≤ pool; at least what is committed; at most the cap; the order of symbols does not matter."""
    shares = share_pool(strategy, POOL, asked)
    floors = sum(one.floor_units for one in asked)
    assert sum(shares.values()) <= max(POOL, floors)
    for one in asked:
        assert one.floor_units <= shares[one.symbol] <= max(one.cap_units, one.floor_units)
    shuffled = list(asked)
    rng.shuffle(shuffled)
    assert share_pool(strategy, POOL, shuffled) == shares


@given(requests(), st.data())
def test_one_symbols_commitment_never_takes_anothers(asked: list[ShareRequest], data: st.DataObject) -> None:
    """However much one symbol commits, every other keeps at least its own committed sum."""
    index = data.draw(st.integers(0, len(asked) - 1))
    more = data.draw(st.integers(0, POOL * 2))
    moved = [one.model_copy(update={"floor_units": more}) if i == index else one for i, one in enumerate(asked)]
    shares = share_pool(AllocationStrategy.EQUAL, POOL, moved)
    assert all(shares[one.symbol] >= one.floor_units for one in moved)


def test_equal_shares() -> None:
    """pool / n, rounded down to a unit."""
    shares = share_pool(AllocationStrategy.EQUAL, 100, [request("A"), request("B"), request("C")])
    assert shares == dict.fromkeys("ABC", 33)


def test_weights_share_in_proportion_and_zero_gets_nothing() -> None:
    """pool·w/Σw."""
    asked = [request("A", weight=3), request("B", weight=1), request("C", weight=0)]
    assert share_pool(AllocationStrategy.WEIGHTED, 100, asked) == {"A": 75, "B": 25, "C": 0}


def test_what_a_cap_leaves_flows_to_the_others() -> None:
    """Water-filling: A stops at 10, B and C share the rest."""
    asked = [request("A", cap_units=10), request("B"), request("C")]
    assert share_pool(AllocationStrategy.EQUAL, 100, asked) == {"A": 10, "B": 45, "C": 45}


def test_caps_below_the_pool_leave_the_rest_unused() -> None:
    """Nobody is pushed over its cap."""
    asked = [request("A", cap_units=10), request("B", cap_units=20)]
    assert share_pool(AllocationStrategy.EQUAL, 100, asked) == {"A": 10, "B": 20}


def test_a_commitment_above_the_fair_share_is_kept_and_the_others_share_the_rest() -> None:
    """A floor comes first."""
    asked = [request("A", floor_units=60), request("B"), request("C")]
    assert share_pool(AllocationStrategy.EQUAL, 100, asked) == {"A": 60, "B": 20, "C": 20}


def test_floors_above_the_pool_are_all_that_is_given() -> None:
    """A pot made smaller under committed money takes nothing away and gives nothing new."""
    asked = [request("A", floor_units=80), request("B", floor_units=40), request("C")]
    assert share_pool(AllocationStrategy.EQUAL, 100, asked) == {"A": 80, "B": 40, "C": 0}


def test_one_symbol_and_five_hundred() -> None:
    """The ends of the range."""
    assert share_pool(AllocationStrategy.EQUAL, 100, [request("A")]) == {"A": 100}
    many = share_pool(AllocationStrategy.DYNAMIC, POOL, [request(f"S{n}") for n in range(500)])
    assert set(many.values()) == {POOL // 500}


def test_dynamic_favours_profit_and_demand() -> None:
    """share ∝ score × demand."""
    asked = [request("A", score="2"), request("B", score="1.5", demand="0.5")]
    shares = share_pool(AllocationStrategy.DYNAMIC, 1100, asked)
    assert shares == {"A": 800, "B": 300}


def returns(**by_symbol: str) -> dict[str, SymbolPerformance]:
    """Returns of the last 72 hours."""
    return {symbol: SymbolPerformance(return_72h=Decimal(text)) for symbol, text in by_symbol.items()}


def test_a_score_is_the_return_over_the_mean_return_between_a_half_and_two() -> None:
    """Returns 0.02, 0.01 and 0: their mean is 0.01. While nobody closed a cell, or all lose, each scores 1."""
    assert scores(returns(A="0.02", B="0.01", C="0")) == {"A": 2, "B": 1, "C": Decimal("0.5")}
    assert scores(returns(A="0.06", B="0", C="0"))["A"] == 2
    assert scores(returns(A="0", B="0")) == {"A": 1, "B": 1}
    assert scores(returns(A="-0.01", B="0")) == {"A": 1, "B": 1}
    assert scores({}) == {}


def test_a_symbol_whose_price_left_its_grid_wants_half() -> None:
    """Demand is 0.5 outside the grid and 1 inside."""
    assert demand(SymbolPerformance(outside=True)) == Decimal("0.5")
    assert demand(SymbolPerformance()) == 1


def test_a_step_goes_a_quarter_of_the_way() -> None:
    """From 500 and 500 to 900 and 100: 600 and 400. Floors and caps hold on the way too."""
    asked, now, target = [request("A"), request("B")], {"A": 500, "B": 500}, {"A": 900, "B": 100}
    assert stepped(1000, asked, now, target, Decimal("0.25")) == {"A": 600, "B": 400}
    held = [request("A"), request("B", floor_units=450)]
    assert stepped(1000, held, now, {"A": 550, "B": 450}, Decimal("0.25")) == {"A": 512, "B": 487}
    assert stepped(1000, held, {"A": 600, "B": 400}, {"A": 550, "B": 450}, Decimal("0.25")) == {"A": 550, "B": 450}


@given(requests(), st.data())
def test_a_step_keeps_the_promises_too(asked: list[ShareRequest], data: st.DataObject) -> None:
    """Wherever the allocations stood: Σ ≤ pool, at least what is used, at most the cap."""
    now = {one.symbol: data.draw(st.integers(0, POOL)) for one in asked}
    target = share_pool(AllocationStrategy.DYNAMIC, POOL, asked)
    shares = stepped(POOL, asked, now, target, Decimal("0.25"))
    assert sum(shares.values()) <= max(POOL, sum(one.floor_units for one in asked))
    for one in asked:
        assert one.floor_units <= shares[one.symbol] <= max(one.cap_units, one.floor_units)


def test_small_differences_change_nothing() -> None:
    """Beyond a tenth of what is in force, or another set of symbols."""
    tenth = Decimal("0.1")
    assert not differs({"A": 100, "B": 100}, {"A": 110, "B": 90}, tenth)
    assert differs({"A": 100, "B": 100}, {"A": 111, "B": 89}, tenth)
    assert differs({"A": 0}, {"A": 1}, tenth)
    assert differs({"A": 100}, {"A": 100, "B": 0}, tenth)


def test_spread_of_usage() -> None:
    """max − min; one symbol has none."""
    assert spread_of_usage([Decimal("0.2"), Decimal("0.9")]) == Decimal("0.7")
    assert spread_of_usage([Decimal("0.9")]) == 0
