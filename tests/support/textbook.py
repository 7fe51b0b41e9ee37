"""A flat grid as a textbook explains it, in one loop of plain Decimals."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from tasks.exchange.models import Candle


class Outcome(NamedTuple):
    """At the end."""

    buys: int
    sells: int
    quote: Decimal
    base: Decimal


def textbook(
    candles: Sequence[Candle], levels: Sequence[Decimal], per_cell: Decimal, quote: Decimal, lot: Decimal
) -> Outcome:
    """Buy at each level that the price falls to, sell one level higher; 0.1 % fee of each trade, rounded up to 1e-8."""

    def fee(price: Decimal, qty: Decimal) -> Decimal:
        return (price * qty * Decimal("0.001")).quantize(Decimal("1e-8"), ROUND_CEILING)

    buys = sells = 0
    last, base = candles[0].open, Decimal(0)
    resting = {cell: "buy" for cell, level in enumerate(levels[:-1]) if level < last}
    sizes = [(per_cell / level / lot).to_integral_value(ROUND_FLOOR) * lot for level in levels[:-1]]
    for candle in candles:
        filled = []
        for cell, side in resting.items():
            low, high, qty = levels[cell], levels[cell + 1], sizes[cell]
            if side == "buy" and candle.low <= low:
                quote, base, buys = quote - low * qty - fee(low, qty), base + qty, buys + 1
                filled.append((cell, "sell"))
            elif side == "sell" and candle.high >= high:
                quote, base, sells = quote + high * qty - fee(high, qty), base - qty, sells + 1
                filled.append((cell, "buy"))
        resting |= dict(filled)
        last = candle.close
        for cell, level in enumerate(levels[:-1]):
            if cell not in resting and level < last:
                resting[cell] = "buy"
        for cell, side in filled:
            if side == "sell" and levels[cell + 1] <= last:  # it meets the market: it trades at once, at its price
                price, qty = last, sizes[cell]
                quote, base, sells = quote + price * qty - fee(price, qty), base - qty, sells + 1
                del resting[cell]
            elif side == "buy" and levels[cell] >= last:  # it would trade at once: it waits for a higher price
                del resting[cell]
    return Outcome(buys, sells, quote, base)
