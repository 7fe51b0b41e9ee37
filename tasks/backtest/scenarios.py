"""Price paths that did not happen, made of one that did: a crash, a melt-up, a flat market. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tasks.backtest.candles import CandleColumns
from tasks.backtest.trial import Job

_SCALE = 10_000
# Price at the end of the path, as a share of what it was: reached in a straight line over the middle third.
_DRIFTS: Mapping[str, Fraction] = {"crash": Fraction(1, 2), "melt-up": Fraction(2)}
NAMES = (*_DRIFTS, "flat")


def scenario(job: Job, name: str) -> Job:
    """The job over changed candles. Raises KeyError for an unknown name.

    crash, melt-up: the price halves, or doubles, over the middle third, besides what it did. flat: it goes a fifth of
    its way from the first price.
    """
    change = _flat if name == "flat" else lambda columns: _drifted(columns, _DRIFTS[name])
    return Job(job.settings, job.markets, {symbol: change(columns) for symbol, columns in job.candles.items()})


def _drifted(columns: CandleColumns, end: Fraction) -> CandleColumns:
    count = len(columns)
    first, last = count // 3, max(count * 2 // 3, count // 3 + 1)
    way = np.clip((np.arange(count) - first) * _SCALE // (last - first), 0, _SCALE)
    factor = _SCALE + way * (end.numerator - end.denominator) // end.denominator
    prices = {name: getattr(columns, name) // _SCALE * factor for name in ("open", "high", "low", "close")}
    return replace(columns, **prices)


def _flat(columns: CandleColumns) -> CandleColumns:
    first = columns.open[0]
    prices = {name: first + (getattr(columns, name) - first) // 5 for name in ("open", "high", "low", "close")}
    return replace(columns, **prices)
