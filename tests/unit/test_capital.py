"""Money in and out: what the pool is a share of, and that profit is never counted twice."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import ConfigError
from tasks.base.money import MAX_QUOTE, from_units
from tasks.control.capital import refuse_missing
from tasks.exchange.models import Balance
from tasks.funds.capital import Capital
from tasks.funds.models import FundsStatus, TraderAllocation
from tasks.funds.rebalancing import APPLIED, MANUAL, SCHEDULED, UNCHANGED, ConfiguredShare, RebalancePlan, Rebalancing
from tasks.ledger.statistics import CurvePoint, Tally, daily_returns, max_drawdown, statistics
from tasks.settings.model import AllocationStrategy, Settings
from tests.support.views import status

ONE = 10**8
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FUNDS = Decimal(1000)
amounts = st.integers(1, 500 * ONE)


@given(st.lists(st.tuples(st.sampled_from(("invest", "withdraw", "earn", "lose", "reinvest")), amounts), max_size=40))
def test_equity_is_capital_and_profit_whatever_is_moved(steps: list[tuple[str, int]]) -> None:
    """Through any movements: money in the account = capital + profit, and reinvesting changes neither of them.

    What the pool is a share of is never more than the account has, and each unit of profit is taken out at most once.
    """
    capital, profit, account, earned = Capital(), 0, 1000 * ONE, 0
    for step, units in steps:
        if step == "invest":
            capital = capital.model_copy(update={"invested_units": capital.invested_units + units})
            account += units
        elif step == "withdraw":
            taken = min(units, capital.withdrawable_units(profit))
            capital = capital.model_copy(update={"withdrawn_units": capital.withdrawn_units + taken})
            account -= taken
        elif step == "reinvest":
            before = capital.put_in(FUNDS)
            capital = capital.with_reinvested(profit)
            assert capital.with_reinvested(profit) == capital, "twice in a row changes nothing"
            assert capital.put_in(FUNDS) == before, "profit is no capital"
            assert capital.in_force(FUNDS) == max(from_units(account), Decimal(0)), "the pool has what the account has"
        else:
            change = units if step == "earn" else -units
            profit, account, earned = profit + change, account + change, earned + max(change, 0)
        assert capital.put_in(FUNDS) + from_units(profit) == from_units(account)
        assert 0 <= capital.withdrawn_units <= earned


def test_the_capital_in_force_has_bounds() -> None:
    """Not below 0 after a loss of everything, not above what the scripts can count."""
    assert Capital(reinvested_units=-2000 * ONE).in_force(FUNDS) == 0
    assert Capital(invested_units=ONE).in_force(MAX_QUOTE) == MAX_QUOTE


def pot(pool: int, *allocated: int, stepped_ms: int = 0, inputs: str = "") -> FundsStatus:
    """An open pot; amounts in quote."""
    shares = {
        f"S{number}": TraderAllocation(
            symbol=f"S{number}",
            registered=True,
            allocated_units=one * ONE,
            used_units=0,
            reserved_units=0,
            paused=False,
        )
        for number, one in enumerate(allocated)
    }
    return FundsStatus(
        pool_units=pool * ONE,
        used_units=0,
        reserved_units=0,
        version=1,
        paused=False,
        stopped=False,
        short_units=0,
        max_committed_units=0,
        stepped_ms=stepped_ms,
        inputs=inputs,
        symbols=shares,
    )


def rules(pool: int, strategy: AllocationStrategy = AllocationStrategy.DYNAMIC) -> Rebalancing:
    """Two symbols; amounts in quote."""
    shares = {f"S{number}": ConfiguredShare(Decimal(1), pool * ONE, Decimal(1)) for number in range(2)}
    return Rebalancing(strategy, pool * ONE, shares, Decimal("0.25"), Decimal("0.1"))


def planned(now: FundsStatus, wanted: Rebalancing, reason: str = SCHEDULED, now_ms: int = HOUR_MS) -> RebalancePlan:
    """What a rebalance would write."""
    return wanted.plan(now.model_copy(update={"inputs": wanted.inputs()}), {}, reason, now_ms)


@pytest.mark.parametrize("strategy", AllocationStrategy)
def test_profit_enters_the_pool_once(strategy: AllocationStrategy) -> None:
    """However small: within the tolerance too. Then nothing is left to change."""
    own, more = rules(1000, strategy), rules(1010, strategy)
    plan = planned(pot(1000, 500, 500), more)
    assert (plan.outcome, dict(plan.wanted)) == (APPLIED, {"S0": 505 * ONE, "S1": 505 * ONE})
    assert planned(pot(1010, 505, 505), more).outcome == UNCHANGED
    assert planned(pot(1000, 500, 500), own).outcome == UNCHANGED


def test_profit_is_no_input_of_the_operator() -> None:
    """The digest of the operator's inputs stays, so a dynamic pot goes no further than a step."""
    own = rules(1000)
    more = Rebalancing(own.strategy, 1010 * ONE, own.shares, own.dynamic_step, own.resize_tolerance, own)
    assert more.inputs() == own.inputs() != rules(1010).inputs()
    skewed = pot(1000, 600, 400, stepped_ms=HOUR_MS)
    early = planned(skewed, more, now_ms=HOUR_MS + 1)
    assert dict(early.wanted) == {"S0": 606 * ONE, "S1": 404 * ONE}, "each keeps its part; the step is not due"
    assert early.step_ms == 0
    due = planned(skewed, more, now_ms=3 * HOUR_MS)
    assert dict(due.wanted) == {"S0": 58_075_000_000, "S1": 42_925_000_000}, "a quarter of the way to 505"
    assert due.step_ms == 3 * HOUR_MS
    assert dict(planned(skewed, more, MANUAL).wanted) == {"S0": 505 * ONE, "S1": 505 * ONE}


def test_a_loss_makes_the_pool_smaller() -> None:
    """No allocation stays above it."""
    plan = planned(pot(1000, 600, 400), rules(900))
    assert sum(plan.wanted.values()) <= 900 * ONE


def test_deposits_are_no_return_and_no_recovery() -> None:
    """1000 → 900 by a loss, 1000 paid in, 100 of profit taken out: returns and drawdown are those of the trading."""
    curve = [
        CurvePoint(at_ms=day * DAY_MS, equity=Decimal(equity), capital=Decimal(capital))
        for day, equity, capital in ((0, 1000, 1000), (1, 900, 1000), (2, 1900, 2000), (3, 2000, 2000), (4, 1900, 1900))
    ]
    assert daily_returns(curve) == [Decimal("-0.1"), 0, Decimal(100) / 1900, 0]
    fall = max_drawdown(curve)
    assert (fall.quote, fall.share) == (Decimal(100), Decimal("0.1"))
    found = statistics(Tally(), curve, 0, 5 * DAY_MS, capital=Decimal(1900))
    assert found.total_pnl == 0


def test_reinvested_profit_is_shown_once() -> None:
    """Users of other bots saw it as profit and again as money: here the equity has it once, whatever is reinvested."""
    earned = Decimal("123.45")
    plain = status(equity=Decimal("1123.45"), equity_change=earned, total_funds=FUNDS)
    works = status(equity=Decimal("1123.45"), equity_change=earned, total_funds=FUNDS, reinvested=earned)
    assert works.capital == plain.capital == FUNDS
    assert works.capital + works.equity_change == works.equity
    assert works.moved == "Invested 0.00, withdrawn 0.00, reinvested 123.45"
    assert plain.moved == ""


def balances(free: int, locked: int = 0) -> dict[str, Balance]:
    """Of the quote."""
    return {"USDT": Balance(free=Decimal(free), locked=Decimal(locked))}


def test_an_investment_must_be_on_the_account() -> None:
    """As the quote guard counts: what others lock is not ours."""
    own, now = Settings(global_max_usage=Decimal(1)), pot(1000, 500, 500)
    now = now.model_copy(update={"used_units": 200 * ONE, "reserved_units": 100 * ONE})
    refuse_missing(Decimal(50), own, now, balances(750, 100))
    with pytest.raises(ConfigError, match=r"AMOUNT = 51: the pot would promise 851 USDT, .* holds 850\. Pay"):
        refuse_missing(Decimal(51), own, now, balances(750, 500))
    with pytest.raises(ConfigError, match="exchange holds 0"):
        refuse_missing(Decimal(1), own, now, {})
