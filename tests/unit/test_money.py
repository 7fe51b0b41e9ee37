"""Money is exact, and rounds against us."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.money import MAX_QUOTE, ceil_to, dec, floor_to, from_units, plain, round_to, units_down, units_up

AMOUNTS = st.decimals(min_value=0, max_value=MAX_QUOTE, places=12)


@given(AMOUNTS)
def test_units_bracket_the_amount(amount: Decimal) -> None:
    """Down ≤ amount ≤ up, at most one unit apart, and both fit Lua's exact integers."""
    low, high = units_down(amount), units_up(amount)
    assert from_units(low) <= amount <= from_units(high)
    assert high - low in (0, 1)
    assert high < 2**53


@given(AMOUNTS, st.sampled_from([Decimal("0.01"), Decimal("0.5"), Decimal("0.00001"), Decimal(5)]))
def test_steps(amount: Decimal, step: Decimal) -> None:
    """Floor, ceiling and nearest are multiples of the step around the value."""
    assert floor_to(amount, step) <= amount <= ceil_to(amount, step)
    assert abs(round_to(amount, step) - amount) <= step / 2
    assert floor_to(amount, step) % step == 0


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_plain_text_reads_back(value: Decimal) -> None:
    """Canonical text loses nothing and has no exponent."""
    assert Decimal(plain(value)) == value
    assert "E" not in plain(value)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), "-inf"])
def test_the_door_refuses_what_is_no_number(wrong: float | str) -> None:
    """NaN and infinities never become money."""
    with pytest.raises(ValueError, match="not a finite number"):
        dec(wrong)


def test_floats_enter_by_their_shortest_text() -> None:
    """0.1 is 0.1, not its binary neighbour."""
    assert dec(0.1) == Decimal("0.1")


def test_rounding_up_looks_at_every_digit() -> None:
    """However many digits an amount has, none is dropped before the rounding."""
    assert units_up(Decimal("89999999.00000000000000000000001")) == 89999999 * 10**8 + 1
    assert units_down(Decimal("89999998.99999999999999999999999")) == 89999999 * 10**8 - 1
