"""The quote guard's rules: fills that are not booked yet are no shortage, and a shortage is found all the same."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.money import ZERO
from tasks.ledger.base_guard import CLOCK_MARGIN_MS, Holding
from tasks.ledger.quote_guard import QuoteLook, judge
from tests.support.grids import BTC

ONE = 10**8
FIRST_MS = 1_000_000
LATER_MS = FIRST_MS + 60_000


def look(promised: int, held: int, at_ms: int = FIRST_MS, sold: str = "0", pool: int = 1000) -> QuoteLook:
    """A look; amounts in quote."""
    amounts = {"pool": pool * ONE, "promised": promised * ONE, "held": held * ONE}
    return QuoteLook(at_ms=at_ms, sold={BTC: Decimal(sold)}, **amounts)


def ticked(after_ms: int = CLOCK_MARGIN_MS, doubtful_ms: int | None = None) -> dict[str, Holding]:
    """The symbol, whose newest tick began so long after the first look."""
    return {BTC: Holding(symbol=BTC, ticked_ms=FIRST_MS + after_ms, doubtful_ms=doubtful_ms)}


@pytest.mark.parametrize(
    ("now", "symbols", "short"),
    [
        pytest.param(look(900, 800, LATER_MS), ticked(), 100, id="two looks, a tick apart"),
        pytest.param(look(900, 850, LATER_MS), ticked(), 50, id="no more than is missing now"),
        pytest.param(look(900, 800, LATER_MS), ticked(4999), 0, id="no tick in between"),
        pytest.param(look(900, 800, LATER_MS), ticked() | {"X": Holding(symbol="X")}, 0, id="one has not ticked"),
        pytest.param(look(900, 800, LATER_MS), ticked(doubtful_ms=FIRST_MS), 0, id="an order is in doubt"),
        pytest.param(look(900, 800, LATER_MS), ticked(doubtful_ms=LATER_MS), 100, id="a younger order is in doubt"),
        pytest.param(look(800, 700, LATER_MS), ticked(), 0, id="the first was an unread buy, so is the second"),
        pytest.param(look(950, 800, LATER_MS, sold="70"), ticked(), 80, id="less what sells brought"),
        pytest.param(look(960, 800, LATER_MS, sold="160"), ticked(), 0, id="all of it may be sells"),
        pytest.param(look(900, 800, LATER_MS, pool=999), ticked(), 0, id="the pool has changed"),
        pytest.param(look(900, 900, LATER_MS), ticked(), 0, id="there is enough"),
    ],
)
def test_what_is_short_by_two_looks(now: QuoteLook, symbols: dict[str, Holding], short: int) -> None:
    """The first look: 900 promised, 800 held."""
    assert judge(look(900, 800), 0, now, symbols).short_units == short * ONE


def test_a_shortage_stays_until_a_look_finds_enough() -> None:
    """Whatever was sold or not ticked meanwhile; a deposit ends it at once."""
    first = look(900, 800)
    busy = judge(first, 100 * ONE, look(960, 800, LATER_MS, sold="160"), ticked())
    assert busy.short_units == 100 * ONE
    assert judge(first, 100 * ONE, look(900, 800, LATER_MS), ticked(0)).first == first, "waits on"
    assert judge(first, 100 * ONE, look(900, 900, LATER_MS), ticked(0)) == (None, 0)


@given(
    fills=st.lists(st.tuples(st.booleans(), st.integers(1, 90), st.integers(-5, 20)), max_size=12),
    seen=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)),
    missing=st.integers(0, 30),
)
def test_fills_alone_are_never_short(
    fills: list[tuple[bool, int, int]], seen: tuple[int, int, int], missing: int
) -> None:
    """Any fills, in any split between the account and the books; what is found missing is missing.

    `seen`: fills that happened before the first look, that happened by the second, that are booked by it; all of the
    first look's are.
    """
    happened, later, booked = sorted(seen)[0], sorted(seen)[2], sorted(seen)[1]

    def account(count: int) -> int:
        return 1000 - missing + sum(-cost if buys else cost + gain for buys, cost, gain in fills[:count])

    def books(count: int) -> tuple[int, Decimal]:
        used = sum(cost if buys else -cost for buys, cost, _ in fills[:count])
        sold = sum((Decimal(cost + max(gain, 0)) for buys, cost, gain in fills[:count] if not buys), ZERO)
        return 1000 - used, sold

    for unread in range(happened + 1):
        promised, sold = books(unread)
        before = look(promised, account(happened), sold=str(sold))
        promised, sold = books(booked)
        now = look(promised, account(later), LATER_MS, sold=str(sold))
        losses = sum(-gain for buys, _, gain in fills[:later] if not buys and gain < 0)
        if before.short:
            assert judge(before, 0, now, ticked()).short_units <= (missing + losses) * ONE
