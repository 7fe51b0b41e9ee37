"""A grid for a symbol from its candles: range, cells and kind, each with its reason, and how it would have done.

The grid is chosen from the older two thirds of the candles. The newest third, which the choice has not seen, is then
played by the exact engine. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.request import paper_markets, settings_of, wrong_option
from tasks.backtest.result import Result, result_of
from tasks.base.clock import DAY_MS
from tasks.base.money import from_units, plain
from tasks.exchange.models import Market
from tasks.market.volatility import annual_volatility
from tasks.settings.grids import net_profit
from tasks.settings.grids.common import ONLY

FEWEST_CANDLES = 300
_DEVIATIONS = Decimal(2)  # of the expected move to either side: 95 % of moves, if returns were normal
_NARROWEST, _WIDEST = Decimal("0.01"), Decimal("0.6")
_FEE_MULTIPLE = 4  # a cell is this many times as wide as its two fees
_MOST_CELLS = 200
_GEOMETRIC_FROM = Decimal("1.2")  # upper ÷ lower
_VOLUME_SHARE = Decimal("0.01")  # of a day's turnover that all cells together may be
_MINIMUM_MARGIN = Decimal("1.1")


@dataclass(frozen=True)
class Suggestion:
    """A grid, and why. Prices in quote per base, money in quote, shares of 1.

    `grid`: fields of the symbol's table. `reasons`: field → sentence. `tested`: of the candles that the choice has not
    seen. `hold`: profit of buying with all the money at their start and holding.
    """

    symbol: str
    grid: Mapping[str, str]
    reasons: Mapping[str, str]
    volatility: Decimal
    days: Decimal
    least_profit: Decimal
    most_profit: Decimal
    least_investment: Decimal
    most_investment: Decimal
    money: Decimal
    tested: Result
    tested_days: Decimal
    hold: Decimal

    def record(self) -> dict[str, Any]:
        """As JSON values; amounts as exact text."""
        return {
            "symbol": self.symbol,
            "grid": dict(self.grid),
            "reasons": dict(self.reasons),
            "volatility": plain(self.volatility),
            "days": plain(self.days),
            "min_profit_per_cell": plain(self.least_profit),
            "max_profit_per_cell": plain(self.most_profit),
            "min_investment": plain(self.least_investment),
            "max_investment": plain(self.most_investment),
            "quote": plain(self.money),
            "out_of_sample": {
                "days": plain(self.tested_days),
                "buys": self.tested.buys,
                "sells": self.tested.sells,
                "grid_profit": plain(self.tested.grid_profit),
                "floating_pnl": plain(self.tested.floating_pnl),
                "fees": plain(self.tested.fees),
                "profit": plain(self.tested.equity - self.tested.funds),
                "buy_and_hold": plain(self.hold),
            },
        }


def suggest(symbol: str, candles: CandleColumns, money: Decimal, days: Decimal, fee: Decimal) -> Suggestion:
    """A grid for `money` quote that should hold for `days`. `fee`: maker fee as a share.

    Raises ConfigError where there are too few candles, or too little money for one cell.
    """
    if len(candles) < FEWEST_CANDLES:
        raise wrong_option("--data", f"{len(candles)} candles", f"needs at least {FEWEST_CANDLES}", "Give more candles")
    first_unseen = len(candles) * 2 // 3
    known = candles.between(int(candles.at[0]), int(candles.at[first_unseen]))
    unseen = candles.between(int(candles.at[first_unseen]), int(candles.at[-1]) + 1)
    sigma = _rounded(annual_volatility((known.close / 1e8).tolist(), known.interval_ms))
    market = paper_markets(settings_of(symbol, plain(money), _probe()), {symbol: known})[symbol]
    grid, reasons = _chosen(known, market, money, sigma, days, fee)
    settings = settings_of(symbol, plain(money), grid, maker_fee=plain(fee), taker_fee=plain(fee))
    own = settings.symbols[symbol].each_grid[ONLY]
    price = from_units(int(unseen.open[0]))
    levels = own.raw_levels(price)
    profits = [net_profit(low, high, fee, fee) for low, high in pairwise(levels)]
    tested = result_of(Engine(settings, {symbol: market}, {symbol: unseen}).play())
    last = from_units(int(unseen.close[-1]))
    return Suggestion(
        symbol=symbol,
        grid=grid,
        reasons=reasons,
        volatility=sigma,
        days=days,
        least_profit=_rounded(min(profits)),
        most_profit=_rounded(max(profits)),
        least_investment=_cent(_least_cell(market, levels[-1]) * own.cells),
        most_investment=_cent(_turnover(known) * _VOLUME_SHARE),
        money=money,
        tested=tested,
        tested_days=_rounded((int(unseen.at[-1]) - int(unseen.at[0]) + unseen.interval_ms) / DAY_MS),
        hold=_cent(money * (1 - fee) * last / price - money),
    )


def _probe() -> dict[str, str]:
    """Any grid: the market does not depend on it."""
    return {"range_pct": "0.1", "cells": "2"}


def _chosen(
    known: CandleColumns, market: Market, money: Decimal, sigma: Decimal, days: Decimal, fee: Decimal
) -> tuple[dict[str, str], dict[str, str]]:
    """The fields of the grid, and a reason for each."""
    move = Decimal(math.sqrt(float(days) / 365)) * sigma * _DEVIATIONS
    share = min(max(move, _NARROWEST), _WIDEST).quantize(Decimal("0.001"))
    price = from_units(int(known.close[-1]))
    lower, upper = price * (1 - share), price * (1 + share)
    kind = "geometric" if upper / lower > _GEOMETRIC_FROM else "arithmetic"
    width = max(_FEE_MULTIPLE * 2 * fee, (upper / lower - 1) / _MOST_CELLS)
    if kind == "geometric":
        paying = max(int((upper / lower).ln() / (1 + width).ln()), 1)
    else:
        paying = max(int((upper - lower) / (width * upper)), 1)  # the highest cell is the narrowest
    least = _least_cell(market, upper)
    affordable = int(money / least)
    if affordable < 1:
        remedy = f"Give at least {plain(_cent(least))}"
        raise wrong_option("--quote", plain(money), "is below the exchange's smallest order", remedy)
    cells = min(paying, affordable, _MOST_CELLS)
    why_cells = (
        f"the narrowest cell is then {_FEE_MULTIPLE} times as wide as its two fees of {_percent(fee)}"
        if cells == paying
        else f"{plain(money)} pays for {affordable} cells of the exchange's smallest order"
    )
    return {"grid": kind, "range_pct": plain(share), "cells": str(cells), "start": "balanced"}, {
        "range_pct": (
            f"the price moves by {_percent(sigma)} in a year, so 95 % of the moves in {plain(days)} days stay within "
            f"{_percent(share)} on either side"
        ),
        "cells": why_cells,
        "grid": f"the upper level is {_rounded(upper / lower)} times the lower one; from {_GEOMETRIC_FROM} on, equal "
        "ratios earn the same in every cell" + ("" if kind == "geometric" else ", below it equal steps do as well"),
        "start": "the grid earns in both directions from its first tick",
    }


def _least_cell(market: Market, price: Decimal) -> Decimal:
    """Money of the smallest cell whose order the exchange takes at `price`, with a margin for a falling price."""
    amount = max(market.min_qty, market.min_notional / price)
    lots = (amount / market.lot_step).to_integral_value(ROUND_CEILING) * market.lot_step
    return lots * price * _MINIMUM_MARGIN


def _turnover(candles: CandleColumns) -> Decimal:
    """Mean turnover of a day, in quote."""
    seconds = (int(candles.at[-1]) - int(candles.at[0]) + candles.interval_ms) / 1000
    whole = float(np.dot(candles.volume, candles.close / 1e8))
    return Decimal(str(whole / seconds * 86_400))


def _rounded(value: Decimal | float) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.0001"))


def _cent(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))


def _percent(share: Decimal) -> str:
    return f"{plain((share * 100).quantize(Decimal('0.1')))} %"
