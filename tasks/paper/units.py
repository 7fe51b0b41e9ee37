"""The paper exchange's arithmetic: integers in units of 1e-8, exact. Pure.

Rounding: a buy's cost rounds up, a sale's proceeds round down, a fee rounds up; each to 1e-8.
"""

from dataclasses import dataclass
from decimal import Decimal

UNITS = 10**8


def to_units(value: Decimal) -> int:
    """Decimal → units. Raises ValueError where it does not fit the grid of 1e-8."""
    scaled = value.scaleb(8)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"{value} has more than 8 decimals")
    return units


def text_of(units: int | str) -> str:
    """Units → plain decimal text."""
    number = int(units)
    whole, rest = divmod(abs(number), UNITS)
    text = f"{whole}.{rest:08d}".rstrip("0").rstrip(".")
    return f"-{text}" if number < 0 else text


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order locks, what its fill brings, its cost and fee: units of the currency concerned."""

    lock: int
    credit: int
    cost: int
    fee: int
    fee_in: str  # "q": quote, "b": base


@dataclass(frozen=True, slots=True)
class Fees:
    """Fees as a share of the notional; `in_base`: a buy's fee is taken from the base it receives."""

    maker: Decimal
    taker: Decimal
    in_base: bool = False

    def terms(self, side: str, price: int, qty: int, share: Decimal) -> Terms:
        """Exact terms of `qty` at `price` (units), for a fee of `share`."""
        rate, per = share.as_integer_ratio()
        product = price * qty  # units of 1e-16 quote
        quote_fee = _up(product * rate, UNITS * per)
        if side == "sell":
            cost = product // UNITS
            return Terms(qty, max(cost - quote_fee, 0), cost, quote_fee, "q")
        cost = _up(product, UNITS)
        if not self.in_base:
            return Terms(cost + quote_fee, qty, cost, quote_fee, "q")
        fee = _up(qty * rate, per)
        return Terms(cost, qty - fee, cost, fee, "b")


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
