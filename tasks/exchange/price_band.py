"""How far from the market an exchange takes orders, read from what it lists. Pure."""

from collections.abc import Mapping
from typing import Any

from tasks.base.money import dec
from tasks.exchange.models import PriceBand, Side

_BOTH_SIDES = "PERCENT_PRICE"
_BY_SIDE = "PERCENT_PRICE_BY_SIDE"
_BINANCE_SIDE = {Side.BUY: "bid", Side.SELL: "ask"}


def price_bands(listed: Mapping[str, Any]) -> dict[Side, PriceBand]:
    """The bands in a market's listing (ccxt's `info`); none where it names none.

    Binance, "Filters": PERCENT_PRICE holds for both sides, PERCENT_PRICE_BY_SIDE names each side's multipliers of
    the average price. Other exchanges bound only prices that would take at once far from the market.
    """
    filters = {str(one.get("filterType")): one for one in listed.get("filters") or [] if isinstance(one, Mapping)}
    bands = {side: PriceBand() for side in Side}
    for side, name in _BINANCE_SIDE.items():
        if _BY_SIDE in filters:
            by_side = filters[_BY_SIDE]
            bands[side] = PriceBand(
                least=dec(by_side[f"{name}MultiplierDown"]), most=dec(by_side[f"{name}MultiplierUp"])
            )
        elif _BOTH_SIDES in filters:
            both = filters[_BOTH_SIDES]
            bands[side] = PriceBand(least=dec(both["multiplierDown"]), most=dec(both["multiplierUp"]))
    return bands
