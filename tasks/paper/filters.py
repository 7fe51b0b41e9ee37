"""Trading filters of the paper exchange, as Binance has them for the large pairs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tasks.base.money import dec

MIN_NOTIONAL = Decimal(5)
_TOP = Decimal(10_000_000)


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
    top = min(price_step * 10**8, _TOP)
    return Filters(price_step, lot_step, lot_step, Decimal(max_qty), price_step, top)


_KNOWN = {
    "BTC": _filters("0.01", "0.00001", "9000"),
    "ETH": _filters("0.01", "0.0001", "9000"),
    "BNB": _filters("0.01", "0.001", "9000"),
}


def filters_for(symbol: str, price: Decimal) -> Filters:
    """Known filters, else ones that fit the magnitude of `price`: five digits of price, a lot worth 0.1 to 1 quote."""
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
        max_qty=min(limit("amount", "max", _TOP), Decimal("1e9")),
        min_price=limit("price", "min", tick),
        max_price=min(limit("price", "max", _TOP), _TOP),
        min_notional=limit("cost", "min", MIN_NOTIONAL),
    )
