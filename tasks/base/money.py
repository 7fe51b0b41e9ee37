"""Exact amounts of money: Decimal in Python, integer units of 1e-8 quote in Redis.

Only `dec` converts floats. Buy costs round up and proceeds round down, so the pot never grants more money than it has.
"""

from contextlib import AbstractContextManager
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext

UNITS_PER_QUOTE = 100_000_000
MAX_QUOTE = Decimal(90_000_000)  # 9e15 units; Lua numbers are exact to 2^53, a little above 9e15
ZERO = Decimal(0)

_EXACT = Context(prec=80)


def exact() -> AbstractContextManager[Context]:
    """A decimal context of 80 digits: sums and products of prices, amounts and fees are exact."""
    return localcontext(_EXACT)


def dec(value: Decimal | int | float | str) -> Decimal:
    """Convert a number from outside to Decimal. A float is converted by its shortest text, as `repr` prints it.

    Raises ValueError for a number that is not finite.
    """
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def units_up(amount: Decimal) -> int:
    """Quote amount → units of 1e-8, rounded up (the cost of a buy)."""
    return int(_EXACT.multiply(amount, UNITS_PER_QUOTE).to_integral_value(ROUND_CEILING))


def units_down(amount: Decimal) -> int:
    """Quote amount → units of 1e-8, rounded down (the proceeds of a sale, the pool)."""
    return int(_EXACT.multiply(amount, UNITS_PER_QUOTE).to_integral_value(ROUND_FLOOR))


def from_units(units: int) -> Decimal:
    """Units of 1e-8 → quote amount, exact."""
    return Decimal(units).scaleb(-8)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of `step` (> 0) not above `value`. For lot steps."""
    return _EXACT.multiply(_EXACT.divide(value, step).to_integral_value(ROUND_FLOOR), step)


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of `step` (> 0) not below `value`."""
    return _EXACT.multiply(_EXACT.divide(value, step).to_integral_value(ROUND_CEILING), step)


def round_to(value: Decimal, step: Decimal) -> Decimal:
    """Nearest multiple of `step` (> 0), ties to even. For price ticks."""
    return _EXACT.multiply(_EXACT.divide(value, step).to_integral_value(ROUND_HALF_EVEN), step)


def plain(value: Decimal) -> str:
    """Text of a Decimal without an exponent, trailing zeros or a negative zero."""
    if value == 0:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
