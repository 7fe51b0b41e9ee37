"""A grid as a textbook explains it, in one loop, against the engines: same buys, sells and balances."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

import pytest

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.fast_engine import fast_result
from tasks.backtest.result import result_of
from tasks.exchange.models import Candle
from tasks.settings.model import Settings
from tests.support.backtests import market
from tests.support.recorded import DATA, candles_in


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


RECORDED = {
    "three days of minutes": (DATA / "BTC-USDT-1m-2024-01.csv.gz", "41000", "46500", 23),
    "a month of quarter hours": (DATA / "BTC-USDT-15m-2024-01.csv.gz", "39000", "48000", 19),
    "a month of quarter hours, narrow cells": (DATA / "BTC-USDT-15m-2024-01.csv.gz", "40000", "45000", 30),
}


@pytest.mark.parametrize("name", RECORDED)
def test_engines_trade_as_a_textbook_says(name: str) -> None:
    """Buys, sells, quote and base to the last unit; and grid profit and floating PnL explain the change of equity."""
    path, lower, upper, cells = RECORDED[name]
    candles = candles_in(path)
    low, high = Decimal(lower), Decimal(upper)
    levels = [(low + (high - low) * i / cells).quantize(Decimal("0.01")) for i in range(cells + 1)]
    expected = textbook(candles, levels, Decimal(300), Decimal(20_000), Decimal("0.00001"))
    grid = {"grid": "arithmetic", "lower": lower, "upper": upper, "cells": cells, "quote_per_cell": "300"}
    own = Settings.model_validate({"total_funds": "20000", "global_max_usage": "1", "symbols": {"BTC/USDT": grid}})
    markets, columns = {"BTC/USDT": market()}, {"BTC/USDT": CandleColumns.of(candles)}
    result, fast = result_of(Engine(own, markets, columns).play()), fast_result(own, markets, columns)
    assert (result.buys, result.sells, result.quote, result.symbols["BTC/USDT"].base) == expected
    assert fast.symbols == result.symbols
    assert min(expected[:2]) > 50
    assert result.identity_error == 0
    assert result.equity - 20_000 == result.grid_profit + result.floating_pnl
    assert result.account_difference == 0
