"""The paper exchange's numbers: units of 1e-8, an order's fees, and the filters of each symbol. Pure.

Rounding: a buy's cost rounds up, a sale's proceeds round down, a fee rounds up; each to 1e-8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from tasks.base.money import dec

UNITS = 10**8


def to_units(value: Decimal) -> int:
    """Decimal → units. Raises ValueError for more than 8 decimals."""
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


class OrderAmounts(NamedTuple):
    """What an order locks, what its fill credits, its cost and its fee; each in units (1e-8) of its currency."""

    lock: int
    credit: int
    cost: int
    fee: int
    fee_in: str  # "q": quote, "b": base


@dataclass(frozen=True, slots=True)
class Fees:
    """Fees as a share of the notional. `in_base`: the fee of a buy is taken from the base it receives."""

    maker: Decimal
    taker: Decimal
    in_base: bool = False

    def amounts(self, side: str, price: int, qty: int, share: Decimal) -> OrderAmounts:
        """Exact amounts of an order for `qty` at `price` (both in units) with a fee of `share`."""
        rate, per = share.as_integer_ratio()
        product = price * qty  # units of 1e-16 quote
        quote_fee = _up(product * rate, UNITS * per)
        if side == "sell":
            cost = product // UNITS
            return OrderAmounts(qty, max(cost - quote_fee, 0), cost, quote_fee, "q")
        cost = _up(product, UNITS)
        if not self.in_base:
            return OrderAmounts(cost + quote_fee, qty, cost, quote_fee, "q")
        fee = _up(qty * rate, per)
        return OrderAmounts(cost, qty - fee, cost, fee, "b")


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


MIN_NOTIONAL = Decimal(5)
_MAX_PRICE = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class Filters:
    """Limits of one symbol: prices and notional in quote, amounts in base."""

    tick: Decimal
    lot: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal = MIN_NOTIONAL


def _filters(tick: str, lot: str, max_qty: str) -> Filters:
    price_step, lot_step = Decimal(tick), Decimal(lot)
    max_price = min(price_step * 10**8, _MAX_PRICE)
    return Filters(price_step, lot_step, lot_step, Decimal(max_qty), price_step, max_price)


_KNOWN = {
    "BTC": _filters("0.01", "0.00001", "9000"),
    "ETH": _filters("0.01", "0.0001", "9000"),
    "BNB": _filters("0.01", "0.001", "9000"),
}


def filters_for(symbol: str, price: Decimal) -> Filters:
    """Binance's filters of a large pair; else derived from `price`: five digits, a lot worth 0.1 to 1 quote."""
    known = _KNOWN.get(symbol.split("/")[0])
    if known is not None:
        return known
    magnitude = price.adjusted()
    tick = max(min(magnitude - 4, -2), -8)
    lot = max(-(magnitude + 1), -8)
    return _filters(f"1e{tick}", f"1e{lot}", f"1e{min(7 - magnitude, 9)}")


def filters_of(market: Mapping[str, Any]) -> Filters:
    """The filters in a ccxt market structure whose precision is in tick sizes."""
    precision, limits = market["precision"], market["limits"]

    def limit(name: str, end: str, default: Decimal) -> Decimal:
        value = limits.get(name, {}).get(end)
        return dec(value) if value else default

    tick, lot = max(dec(precision["price"]), Decimal("1e-8")), max(dec(precision["amount"]), Decimal("1e-8"))
    return Filters(
        tick=tick,
        lot=lot,
        min_qty=limit("amount", "min", lot),
        max_qty=min(limit("amount", "max", _MAX_PRICE), Decimal("1e9")),
        min_price=limit("price", "min", tick),
        max_price=min(limit("price", "max", _MAX_PRICE), _MAX_PRICE),
        min_notional=limit("cost", "min", MIN_NOTIONAL),
    )
