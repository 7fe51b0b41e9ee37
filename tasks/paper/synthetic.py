"""A synthetic market: geometric Brownian motion that drifts back to its start price, the same in every process.

Logarithmic prices at day ends follow X' = 0.97·X + σ_day·ε; within a day a Brownian bridge joins them. Each day has its
own random generator, seeded by (seed, symbol, day), so any candle can be computed without those before it.
"""

import math
from collections import OrderedDict
from decimal import Decimal
from random import Random

from tasks.paper.candles import MINUTE, Bar

DAY = 1440  # candles
_START = {"BTC": 42_000.0, "ETH": 2_280.0, "BNB": 312.0}
_PULL = 0.97
_DAY_SIGMA = 0.6 / math.sqrt(365)  # 60 % a year
_MINUTE_SIGMA = _DAY_SIGMA / math.sqrt(DAY)
_DECIMALS = 2


def start_price(symbol: str) -> Decimal:
    """About the price at which a synthetic symbol begins, in quote per base."""
    return Decimal(str(_START.get(symbol.split("/")[0], 100.0)))


class SyntheticSeries:
    """Endless candles; index 0 opens at `start_ms` of market time, one day of history lies before it."""

    history = DAY

    def __init__(self, seed: int, symbol: str, start_ms: int) -> None:
        self._seed, self._symbol, self._start_ms = seed, symbol, start_ms
        self._price = _START.get(symbol.split("/")[0], 100.0)
        self._ends = [0.0]  # log price at the beginning of day 0, 1, …
        self._days: OrderedDict[int, list[Bar]] = OrderedDict()

    async def length(self) -> None:
        return None

    async def bars(self, start: int, stop: int) -> list[Bar]:
        found: list[Bar] = []
        for day in range(start // DAY, (stop - 1) // DAY + 1 if stop > start else start // DAY):
            first = day * DAY
            found += self._day(day)[max(start - first, 0) : stop - first]
        return found

    async def find(self, at_ms: int) -> int:
        return max(-(-(at_ms - self._start_ms) // MINUTE), -self.history)

    def _random(self, purpose: str, day: int) -> Random:
        return Random(f"{self._seed}/{self._symbol}/{purpose}/{day}")

    def _day_start(self, day: int) -> float:
        if day < 0:
            return self._random("end", day).gauss(0, _DAY_SIGMA)
        while len(self._ends) <= day:
            step = self._random("end", len(self._ends)).gauss(0, _DAY_SIGMA)
            self._ends.append(_PULL * self._ends[-1] + step)
        return self._ends[day]

    def _day(self, day: int) -> list[Bar]:
        if day not in self._days:
            self._days[day] = self._generate(day)
            while len(self._days) > 3:
                self._days.popitem(last=False)
        return self._days[day]

    def _path(self, random: Random, day: int) -> list[float]:
        """DAY+1 log prices from this day's start to the next one's: a Brownian bridge."""
        walk = [0.0]
        for _ in range(DAY):
            walk.append(walk[-1] + random.gauss(0, _MINUTE_SIGMA))
        begin, end = self._day_start(day), self._day_start(day + 1)
        slope = (end - begin - walk[-1]) / DAY
        return [begin + step + slope * i for i, step in enumerate(walk)]

    def _generate(self, day: int) -> list[Bar]:
        random = self._random("path", day)
        path = self._path(random, day)
        prices = [max(round(self._price * math.exp(x), _DECIMALS), 0.01) for x in path]
        at = self._start_ms + day * DAY * MINUTE
        bars = []
        for i in range(DAY):
            open_price, close = prices[i], prices[i + 1]
            up, down = abs(random.gauss(0, _MINUTE_SIGMA)), abs(random.gauss(0, _MINUTE_SIGMA))
            high = max(open_price, close, round(max(open_price, close) * (1 + up / 2), _DECIMALS))
            low = max(min(open_price, close, round(min(open_price, close) * (1 - down / 2), _DECIMALS)), 0.01)
            volume = round(random.expovariate(self._price / 1e6), 5)
            o, h, l, c = (round(price * 1e8) for price in (open_price, high, low, close))  # noqa: E741
            bars.append(Bar(at + i * MINUTE, o, h, l, c, volume))
        return bars
