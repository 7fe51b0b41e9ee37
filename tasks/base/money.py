"""Exact money: Decimal at every edge, integer units of 1e-8 quote inside Redis.

Floats enter through `dec` only. Buy costs round up and proceeds round down, so that a rounding never promises more
than there is.
"""

from contextlib import AbstractContextManager
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext

UNITS_PER_QUOTE = 100_000_000
MAX_QUOTE = Decimal(90_000_000)  # Lua numbers are exact to 2^53 units; 9e15 leaves room to add
ZERO = Decimal(0)

_EXACT = Context(prec=80)


def exact() -> AbstractContextManager[Context]:
    """Arithmetic wide enough that sums and products of prices, amounts and fees never round."""
    return localcontext(_EXACT)


def dec(value: Decimal | int | float | str) -> Decimal:
    """The one door through which outside numbers become Decimal; floats by their shortest text.

    Raises ValueError for what is not a finite number.
    """
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def units_up(amount: Decimal) -> int:
    """Quote amount → units of 1e-8, rounded up (what a buy may cost)."""
    with exact():
        return int((amount * UNITS_PER_QUOTE).to_integral_value(ROUND_CEILING))


def units_down(amount: Decimal) -> int:
    """Quote amount → units of 1e-8, rounded down (what a sale brings, what a pool holds)."""
    with exact():
        return int((amount * UNITS_PER_QUOTE).to_integral_value(ROUND_FLOOR))


def from_units(units: int) -> Decimal:
    """Units of 1e-8 → quote amount, exact."""
    return Decimal(units).scaleb(-8)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of `step` (> 0) not above `value`; lot steps."""
    with exact():
        return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of `step` (> 0) not below `value`."""
    with exact():
        return (value / step).to_integral_value(ROUND_CEILING) * step


def round_to(value: Decimal, step: Decimal) -> Decimal:
    """Nearest multiple of `step` (> 0), ties to even; price ticks."""
    with exact():
        return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def plain(value: Decimal) -> str:
    """Canonical text of a Decimal: no exponent, no trailing zeros, zero without a sign."""
    if value == 0:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
