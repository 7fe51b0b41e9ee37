"""Scores of trials: return, drawdown, Sharpe ratio. Pure. They rank trials only, so they are floats."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.backtest.candles import CandleColumns
from tasks.backtest.fast import FastOutcome
from tasks.backtest.result import BacktestFill
from tasks.base.money import UNITS_PER_QUOTE
from tasks.exchange.models import Side
from tasks.ledger.models import HOUR_MS

_HOURS_A_YEAR = 24 * 365
Floats = npt.NDArray[np.float64]


class Score(NamedTuple):
    """What one trial came to. Shares: of the funds. `sharpe`: of hourly returns, annual, 0 where they do not differ."""

    total_return: float
    drawdown: float
    sharpe: float
    grid_profit: float
    buys: int
    sells: int


class Moves(NamedTuple):
    """What fills did to one symbol's money. `at`: when they are in the books, in ms; `base`, `cash`: changes."""

    at: npt.NDArray[np.int64]
    base: Floats
    cash: Floats


def moves_of(fills: Iterable[BacktestFill], interval_ms: int) -> Moves:
    """The moves of one symbol's fills. A maker's fill is in the books at the end of its candle."""
    rows = [
        (
            fill.at_ms + (interval_ms if fill.maker else 0),
            float(fill.qty if fill.side is Side.BUY else -fill.qty),
            float((-fill.price if fill.side is Side.BUY else fill.price) * fill.qty - fill.fee),
        )
        for fill in fills
    ]
    return _moves(rows)


def moves_of_fast(outcome: FastOutcome, candles: CandleColumns) -> Moves:
    """The moves of a fast run."""
    ends = candles.at + candles.interval_ms
    start_ms, unit = int(candles.at[0]), UNITS_PER_QUOTE
    rows = [
        (
            start_ms if fill.candle < 0 else int(ends[fill.candle]),
            (fill.qty if fill.is_buy else -fill.qty) / unit,
            ((-fill.price if fill.is_buy else fill.price) * fill.qty - fill.fee * unit) / unit**2,
        )
        for fill in outcome.fills
    ]
    return _moves(rows)


def _moves(rows: list[tuple[int, float, float]]) -> Moves:
    rows.sort(key=lambda row: row[0])
    at, base, cash = zip(*rows, strict=True) if rows else ((), (), ())
    return Moves(np.array(at, dtype=np.int64), np.array(base, dtype=np.float64), np.array(cash, dtype=np.float64))


def equity_curve(
    funds: float, moves: Mapping[str, Moves], candles: Mapping[str, CandleColumns]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Times (ms) at the ends of hours, and the account's worth then; the first point is the start, the last the end."""
    start = min(int(columns.at[0]) for columns in candles.values())
    end = max(int(columns.at[-1]) + columns.interval_ms for columns in candles.values())
    hours = np.arange(start // HOUR_MS * HOUR_MS + HOUR_MS, end, HOUR_MS, dtype=np.int64)
    times = np.concatenate((np.array([start], dtype=np.int64), hours, np.array([end], dtype=np.int64)))
    equity = np.full(len(times), funds)
    for symbol, columns in candles.items():
        own = moves[symbol]
        newest = np.maximum(np.searchsorted(columns.at, times - columns.interval_ms, side="right") - 1, 0)
        prices = columns.close[newest] / UNITS_PER_QUOTE
        seen = np.searchsorted(own.at, times, side="right")
        equity += _running(own.cash)[seen] + _running(own.base)[seen] * prices
    equity[0] = funds  # before the first orders, whose fees are in the books at the same time
    return times, equity


def _running(changes: Floats) -> Floats:
    """Sums so far, with 0 before the first."""
    return np.concatenate((np.zeros(1), np.cumsum(changes)))


def score_of(equity: Floats, grid_profit: float, counts: tuple[int, int]) -> Score:
    """The score of an hourly equity curve. `counts`: of buys and sells."""
    returns = np.diff(equity) / equity[:-1]
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return Score(
        total_return=float(equity[-1] / equity[0] - 1),
        drawdown=float((1 - equity / np.maximum.accumulate(equity)).max()),
        sharpe=float(returns.mean()) / deviation * _HOURS_A_YEAR**0.5 if deviation else 0.0,
        grid_profit=grid_profit,
        buys=counts[0],
        sells=counts[1],
    )
