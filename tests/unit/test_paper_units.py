"""Money of the paper exchange: exact, against the same sum in Decimals of any width."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.money import exact
from tasks.paper.units import Fees, text_of, to_units

UNIT = Decimal("1e-8")
units = st.integers(1, 2**53)
shares = st.decimals(0, Decimal("0.1"), places=6, allow_nan=False)


def rounded(value: Decimal, rounding: str) -> Decimal:
    """To 1e-8."""
    return value.quantize(UNIT, rounding)


@given(side=st.sampled_from(["buy", "sell"]), price=units, qty=units, share=shares, in_base=st.booleans())
def test_terms_are_exact(side: str, price: int, qty: int, share: Decimal, in_base: bool) -> None:
    """A buy's cost and every fee round up to 1e-8, a sale's proceeds round down; no width is lost in between."""
    amounts = Fees(share, share, in_base).amounts(side, price, qty, share)
    with exact():
        at, amount = Decimal(price) * UNIT, Decimal(qty) * UNIT
        cost = rounded(at * amount, ROUND_CEILING if side == "buy" else ROUND_FLOOR)
        takes_base = side == "buy" and in_base
        fee = rounded((amount if takes_base else at * amount) * share, ROUND_CEILING)
        assert (Decimal(amounts.cost) * UNIT, Decimal(amounts.fee) * UNIT) == (cost, fee)
        paid, got = Decimal(amounts.lock) * UNIT, Decimal(amounts.credit) * UNIT
        if side == "sell":
            assert (paid, got, amounts.fee_in) == (amount, max(cost - fee, Decimal(0)), "q")
        elif takes_base:
            assert (paid, got, amounts.fee_in) == (cost, amount - fee, "b")
        else:
            assert (paid, got, amounts.fee_in) == (cost + fee, amount, "q")


def test_units_refuse_more_than_eight_decimals() -> None:
    """Nothing is rounded by stealth."""
    assert to_units(Decimal("0.00000001")) == 1
    assert text_of(to_units(Decimal("42283.58"))) == "42283.58"
    with pytest.raises(ValueError, match="8 decimals"):
        to_units(Decimal("0.000000001"))
