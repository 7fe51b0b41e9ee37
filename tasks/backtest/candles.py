"""Candles in memory: one numpy column each, prices in units of 1e-8; and the search for the next event."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tasks.exchange.models import Candle
from tasks.paper.candles import MINUTE
from tasks.paper.matching import Path
from tasks.paper.units import to_units

Column = npt.NDArray[np.int64]
Volume = npt.NDArray[np.float64]
NEVER_ABOVE, NEVER_BELOW = 2**62, -1  # prices that no candle reaches
_FIRST_BLOCK, _TOP_BLOCK = 256, 16_384


@dataclass(frozen=True)
class CandleColumns:
    """Candles of one symbol, oldest first. `at`: opening time in ms. `volume`: in base."""

    at: Column
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Volume

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def of(cls, candles: Iterable[Candle]) -> "CandleColumns":
        """From records. Raises ValueError for a price with more than 8 decimals."""
        rows = list(candles)
        prices = [[to_units(getattr(one, name)) for one in rows] for name in ("open", "high", "low", "close")]
        opened, high, low, close = (np.array(column, dtype=np.int64) for column in prices)
        at = np.array([one.at_ms for one in rows], dtype=np.int64)
        return cls(at, opened, high, low, close, np.array([float(one.volume) for one in rows]))

    @cached_property
    def interval_ms(self) -> int:
        """Time that a candle covers: the smallest distance between two."""
        return int(np.diff(self.at).min()) if len(self) > 1 else MINUTE

    def between(self, start_ms: int, end_ms: int) -> "CandleColumns":
        """The candles that open from `start_ms` to before `end_ms`."""
        first, end = (int(index) for index in np.searchsorted(self.at, (start_ms, end_ms)))
        names = ("at", "open", "high", "low", "close", "volume")
        return replace(self, **{name: getattr(self, name)[first:end] for name in names})

    def path(self, index: int) -> Path:
        """The prices of one candle."""
        return Path(int(self.open[index]), int(self.high[index]), int(self.low[index]), int(self.close[index]))

    def missing(self) -> int:
        """How many candles are missing between the first and the last."""
        return int(self.at[-1] - self.at[0]) // self.interval_ms + 1 - len(self) if len(self) else 0

    def next_event(self, start: int, buy: int, sell: int, above: int, below: int) -> int:
        """The first candle from `start` on that reaches a resting order, or whose close passes a bound.

        That is: its low is at or below `buy`, its high at or above `sell`, its close above `above`, or its close at or
        below `below`. The number of candles where there is none. Prices in units.
        """
        size, block = len(self), _FIRST_BLOCK
        while start < size:
            stop = min(start + block, size)
            found = self.low[start:stop] <= buy
            found |= self.high[start:stop] >= sell
            if above < sell:  # else a close above it is a high that reaches the sell
                found |= self.close[start:stop] > above
            if below > buy:
                found |= self.close[start:stop] <= below
            first = int(found.argmax())
            if found[first]:
                return start + first
            start, block = stop, min(block * 4, _TOP_BLOCK)
        return size
