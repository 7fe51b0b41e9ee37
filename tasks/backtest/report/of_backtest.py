"""The report of a run of the exact engine. Pure."""

import json
from decimal import Decimal

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Played
from tasks.backtest.report.contents import Contents, PricePoints, contents_of
from tasks.base.money import exact, from_units
from tasks.exchange.models import Side
from tasks.ledger.models import HOUR_MS, Fill
from tasks.ledger.statistics import CurvePoint
from tasks.settings.load import public_values

_MOST_PRICES = 5000  # points of a price chart


def report_of(played: Played, title: str = "Backtest") -> Contents:
    """Equity at the end of each hour, and all fills."""
    runs = played.runs
    settings = {"total_funds": str(played.settings.total_funds), "quote": played.settings.quote}
    settings |= {"symbols": public_values(played.settings)["symbols"]}
    grids = {symbol: run.trader.records.grid for symbol, run in runs.items()}
    return contents_of(
        title,
        sorted((fill for run in runs.values() for fill in run.trader.fills), key=lambda fill: fill.at_ms),
        {symbol: price_points(run.candles) for symbol, run in runs.items()},
        {symbol: grid.all_levels for symbol, grid in grids.items() if grid is not None},
        equity_points(played),
        played.settings.total_funds,
        json.dumps(settings, indent=2),
    )


def price_points(candles: CandleColumns) -> PricePoints:
    """The first open, and closes at the ends of candles: at most a few thousand, evenly spread, the last among them."""
    step = max(len(candles) // _MOST_PRICES, 1)
    chosen = [*range(0, len(candles) - 1, step), len(candles) - 1]
    ends = [(int(candles.at[i]) + candles.interval_ms, from_units(int(candles.close[i]))) for i in chosen]
    return [(int(candles.at[0]), from_units(int(candles.open[0]))), *ends]


def equity_points(played: Played) -> list[CurvePoint]:
    """The account at the start, at the end of each hour and at the end."""
    first = played.start_ms // HOUR_MS * HOUR_MS + HOUR_MS
    times = [played.start_ms, *range(first, played.end_ms, HOUR_MS), played.end_ms]
    funds = played.settings.total_funds
    worth = [funds] * len(times)
    profits = [Decimal(0)] * len(times)
    with exact():
        for run in played.runs.values():
            fills, number = run.trader.fills, 0
            cash = base = profit = Decimal(0)
            for place, at_ms in enumerate(times):
                while number < len(fills) and place and _booked_ms(fills[number], run.interval_ms) <= at_ms:
                    fill = fills[number]
                    cash, base = _moved(fill, cash, base, run.trader.market.base)
                    profit += fill.profit
                    number += 1
                worth[place] += cash + base * _price_at(run.candles, at_ms)
                profits[place] += profit
    return [
        CurvePoint(at_ms=at_ms, equity=equity, capital=funds, grid_profit=profit)
        for at_ms, equity, profit in zip(times, worth, profits, strict=True)
    ]


def _booked_ms(fill: Fill, interval_ms: int) -> int:
    """When a fill is in the account: a maker's at the end of its candle."""
    return fill.at_ms + (interval_ms if fill.maker else 0)


def _moved(fill: Fill, cash: Decimal, base: Decimal, base_coin: str) -> tuple[Decimal, Decimal]:
    sign = 1 if fill.side is Side.BUY else -1
    in_base = fill.fee if fill.fee_currency == base_coin else Decimal(0)
    return cash - sign * fill.quote - (fill.fee - in_base), base + sign * fill.qty - in_base


def _price_at(candles: CandleColumns, at_ms: int) -> Decimal:
    """The close of the newest candle that is over; the first open before that."""
    index = int(candles.at.searchsorted(at_ms - candles.interval_ms, side="right")) - 1
    return from_units(int(candles.open[0] if index < 0 else candles.close[index]))
