"""A grid as a textbook explains it, in one loop, against the engines: same buys, sells and balances."""

from decimal import Decimal

import pytest

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.fast_engine import fast_result
from tasks.backtest.result import result_of
from tasks.settings.model import Settings
from tests.support.backtests import market
from tests.support.recorded import DATA, candles_in
from tests.support.textbook import textbook

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
