"""Amounts as text: two decimals and thousands for money, a symbol's own digits for prices and base. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from tasks.base.money import plain

NOTHING = "–"
_MOST_DIGITS = 12


def money(amount: Decimal | None, digits: int = 2) -> str:
    """`1,234.50`, `−0.50`; a minus sign only where the digits show something."""
    if amount is None:
        return NOTHING
    text = f"{abs(amount):,.{digits}f}"
    return f"−{text}" if amount < 0 and text.strip("0.,") else text


def signed(amount: Decimal | None, digits: int = 2) -> str:
    """`+12.30`, `−0.50`, `0.00`."""
    text = money(amount, digits)
    return f"+{text}" if amount is not None and amount > 0 and text.strip("0.,") else text


def percent(share: Decimal | None, digits: int = 1) -> str:
    """A share of 1 as `12.3 %`."""
    return NOTHING if share is None else f"{money(share * 100, digits)} %"


def signed_percent(share: Decimal | None, digits: int = 2) -> str:
    """A share of 1 as `+1.20 %`."""
    return NOTHING if share is None else f"{signed(share * 100, digits)} %"


def part_of(part: Decimal, whole: Decimal) -> Decimal | None:
    """part / whole; None without a whole."""
    return part / whole if whole else None


def digits_of(amounts: Iterable[Decimal | None]) -> int:
    """The decimals that show each of the amounts whole, so that they stand below each other."""
    found = [len(plain(amount).partition(".")[2]) for amount in amounts if amount is not None]
    return min(max(found, default=0), _MOST_DIGITS)


def step_digits(step: Decimal) -> int:
    """The decimals of multiples of a step, such as a tick size: 0.10 → 1."""
    return digits_of([step.normalize()])


def exact(amount: Decimal | None, digits: int) -> str:
    """A price or an amount of base with so many decimals, thousands apart."""
    return money(amount, digits)


def whole(count: int) -> str:
    """`12,345`."""
    return f"{count:,}"


def mark(amount: Decimal | None, digits: int = 2) -> str:
    """`▲` for a gain that can be seen, `▼` for a loss, so that colour is not needed to tell them apart."""
    text = signed(amount, digits)
    return "▲" if text.startswith("+") else "▼" if text.startswith("−") else ""
