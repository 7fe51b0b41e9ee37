"""A recorded month under the dynamic strategy: money moves, not too often, and orders do not starve for it.

The rules and the planner are the program's own; see `tests.support.month`.
"""

import pytest

from tasks.settings.model import AllocationStrategy
from tests.support.month import Month, Simulation
from tests.support.month_state import SYMBOLS


@pytest.fixture(scope="module")
def dynamic() -> Month:
    """The month under the default strategy; a grid that the price has left is sold and set anew."""
    return Simulation(AllocationStrategy.DYNAMIC).play()


def test_money_follows_profit_and_demand(dynamic: Month) -> None:
    """Each symbol begins with a third, has less than 26 % at some time and more than 43 % at another.

    At the end the largest share is at least a third larger than the smallest, and orders followed: more than a
    thousand resting buys were replaced by others of another size.
    """
    for shares in dynamic.shares.values():
        assert min(shares) < 0.26
        assert max(shares) > 0.43
    final = [shares[-1] for shares in dynamic.shares.values()]
    assert max(final) > min(final) * 4 / 3
    assert dynamic.replaced > 1000


def test_rebalances_stay_rare(dynamic: Month) -> None:
    """The hourly rebalance and the triggers write fewer than two times a day; four would be too many."""
    assert len(dynamic.writes) / dynamic.days < 2


def test_orders_refused_for_money_do_not_grow(dynamic: Month) -> None:
    """Not more in the second half of the month than in the first, and in all fewer than 2 of 100 orders placed.

    The market is harder in the second half, when the price falls. A pot whose money gets stuck shows as growth.
    """
    first, second = dynamic.halves(dynamic.refusals)
    assert second <= first
    assert first + second < dynamic.placed * 0.02


def test_no_more_is_committed_than_the_pool_has(dynamic: Month) -> None:
    """While shares move too: at no candle's end is more than the pool used and reserved."""
    assert 0.95 < dynamic.most_committed <= 1


def test_in_a_fall_that_strands_inventory_moving_money_refuses_little_more_than_equal_shares() -> None:
    """Old grids keep what they hold, the price falls in the second half, and both strategies run out of money.

    Equal shares then refuse more than twice as many orders in the second half as in the first. Moving the money adds
    less than a third to that, in either half.
    """
    equal = Simulation(AllocationStrategy.EQUAL, sells=False).play()
    moving = Simulation(AllocationStrategy.DYNAMIC, sells=False).play()
    fixed, moved = equal.halves(equal.refusals), moving.halves(moving.refusals)
    assert fixed[1] > 2 * fixed[0]
    assert all(with_moves < without * 4 / 3 for with_moves, without in zip(moved, fixed, strict=True))
    assert len(moving.writes) / moving.days < 4


def test_the_same_month_gives_the_same_numbers() -> None:
    """Four days, twice."""
    one, again = (Simulation(AllocationStrategy.DYNAMIC, days=4).play() for _ in range(2))
    assert one == again
    assert len(one.shares[SYMBOLS[0]]) == 96
