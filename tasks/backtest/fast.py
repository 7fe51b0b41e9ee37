"""The fast engine: grids whose money never binds, in integers, from event to event. Pure.

It plays what it can say exactly, with the fills and balances of the exact engine, and refuses everything else by name
(`tasks.backtest.fast_limits`). Prices, amounts and fees in units of 1e-8; sums of quote in units of 1e-16, so that a
price times an amount is exact.
"""

from bisect import insort
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from tasks.backtest.candles import NEVER_ABOVE, NEVER_BELOW, CandleColumns
from tasks.base.money import UNITS_PER_QUOTE
from tasks.paper.units import Fees

_BLOCK, _TOP_BLOCK = 128, 16_384
Reach = tuple[int, int]  # a share as numerator and denominator


class FastGrid(NamedTuple):
    """A grid in units: every level that the range may ever have, and what each cell between two of them buys there.

    Cells are numbered from the lowest. `entries`: amount by cell, for the cells of a balanced start. `first`: number of
    the range's lowest cell at the start. `cells`: of the range. `follows_up`, `follows_down`: whether the range follows
    the price. `lowest_index`: the grid's index of cell 0. `reach`: only levels within this share of the price have
    orders; None: all.
    """

    levels: tuple[int, ...]
    lots: tuple[int, ...]
    entries: dict[int, int]
    first: int
    cells: int
    follows_up: bool = False
    follows_down: bool = False
    lowest_index: int = 0
    reach: Reach | None = None


class FastFill(NamedTuple):
    """One fill. `candle`: its number; a taker fills at the tick after it. `profit`: in 1e-16 quote, 0 of a buy.

    `cell`: its index in the grid.
    """

    candle: int
    is_buy: bool
    cell: int
    price: int
    qty: int
    fee: int
    maker: bool
    profit: int


@dataclass
class FastOutcome:
    """What a run came to. `cash`, `basis`, `profit`: in units of 1e-16 quote; `fees`: of 1e-8; `base`: of 1e-8."""

    cash: int = 0
    base: int = 0
    basis: int = 0
    profit: int = 0
    fees: int = 0
    buys: int = 0
    sells: int = 0
    fills: list[FastFill] = field(default_factory=list)


class FastRun:
    """Plays one grid over one symbol's candles. Cells are numbered from the lowest; their order is their prices'."""

    def __init__(self, grid: FastGrid, candles: CandleColumns, fees: Fees) -> None:
        self.grid, self.levels, self.lots = grid, grid.levels, grid.lots
        self.first = grid.first  # number of the range's lowest cell
        self.candles, self.fees = candles, fees
        self.outcome = FastOutcome()
        cells = range(len(self.lots))
        self._buy_fees = [self._fee(self.levels[cell], self.lots[cell], fees.maker) for cell in cells]
        self._sell_fees = [self._fee(self.levels[cell + 1], self.lots[cell], fees.maker) for cell in cells]
        self._held: dict[int, tuple[int, int]] = {}  # cell → amount, cost (1e-16 quote)
        self._buys: list[int] = []  # cells with a resting buy
        self._sells: list[int] = []  # cells with a resting sell
        self._waits: list[int] = []  # cells that buy once the price is above their level
        self._taken: list[int] = []  # cells whose order filled at once: the next tick books that

    @staticmethod
    def _fee(price: int, qty: int, share: Decimal) -> int:
        rate, per = share.as_integer_ratio()
        return -(-price * qty * rate // (UNITS_PER_QUOTE * per))

    def play(self) -> FastOutcome:
        """All candles."""
        self._start(int(self.candles.open[0]))
        low, high, close = self.candles.low, self.candles.high, self.candles.close
        index, size = self._next(0), len(self.candles)
        while index < size:
            self._candle(index, int(low[index]), int(high[index]), int(close[index]))
            index = self._next(index + 1)
        return self.outcome

    def _start(self, price: int) -> None:
        free: list[int] = []
        for cell in range(self.first, self.first + self.grid.cells):
            if cell in self.grid.entries:
                qty = self.grid.entries[cell]
                self._bought(-1, cell, price, qty, self._fee(price, qty, self.fees.taker), maker=False)
                self._taken.append(cell)
            else:
                free.append(cell)
        self._order(-1, price, free, [])

    def _candle(self, index: int, low: int, high: int, close: int) -> None:
        """Fill what the candle reaches; then the tick: sells for what is held, buys for what is free."""
        levels, buys, sells = self.levels, self._buys, self._sells
        holding = [cell for cell in self._taken if cell in self._held]
        free = [cell for cell in self._taken if cell not in self._held]
        self._taken = []
        while sells and levels[sells[0] + 1] <= high:
            cell = sells.pop(0)
            qty, cost = self._held.pop(cell)
            price = levels[cell + 1]
            fee = self._sell_fees[cell] if qty == self.lots[cell] else self._fee(price, qty, self.fees.maker)
            self._sold(index, cell, price, qty, cost, fee, maker=True)
            free.append(cell)
        while buys and levels[buys[-1]] >= low:
            cell = buys.pop()
            self._bought(index, cell, levels[cell], self.lots[cell], self._buy_fees[cell], maker=True)
            holding.append(cell)
        self._order(index, close, self._in_range(free, close), holding)

    def _order(self, index: int, close: int, free: list[int], holding: list[int]) -> None:
        """Place the orders of a tick: buys of cells that are free, sells of cells that hold something."""
        levels, buys, waits = self.levels, self._buys, self._waits
        while waits and levels[waits[0]] < close:
            insort(buys, waits.pop(0))
        for cell in free:
            insort(buys if levels[cell] < close else waits, cell)
        self._sell(index, close, holding)

    def _sell(self, index: int, close: int, holding: list[int]) -> None:
        """Place the sells of these cells. One whose level the price has passed fills at once."""
        for cell in holding:
            if self.levels[cell + 1] > close:
                insort(self._sells, cell)
                continue
            qty, cost = self._held.pop(cell)
            self._sold(index, cell, close, qty, cost, self._fee(close, qty, self.fees.taker), maker=False)
            self._taken.append(cell)

    def _in_range(self, free: list[int], close: int) -> list[int]:
        """Move the range after the price. Returns the cells that want a new buy: those of `free`, and new ones."""
        before, self.first = self.first, self._place(close)
        if self.first == before:
            return [cell for cell in free if before <= cell < before + self.grid.cells]
        own = range(self.first, self.first + self.grid.cells)
        self._buys[:] = [cell for cell in self._buys if cell in own]
        self._waits[:] = [cell for cell in self._waits if cell in own]
        return [cell for cell in own if cell not in self._held and cell not in self._buys and cell not in self._waits]

    def _place(self, close: int) -> int:
        """Number of the range's lowest cell at this price, as `tasks.grid.window.place_of` says."""
        levels, last, first, top = self.levels, len(self.levels) - 1, self.first, self.first + self.grid.cells
        if self.grid.follows_up and top < last and levels[top + 1] <= close:
            while top < last and levels[top] <= close:
                top += 1
            return top - self.grid.cells
        if self.grid.follows_down and first > 0 and levels[first - 1] >= close:
            while first > 0 and levels[first] > close:
                first -= 1
        return first

    def _waits_above(self) -> int:
        """A cell buys once a candle closes above this price."""
        return self.levels[self._waits[0]] if self._waits else NEVER_ABOVE

    def _acts_at(self) -> tuple[int, int]:
        """The tick does something else where a candle closes at or below the first price, or at or above the second.

        The range moves there.
        """
        first, top = self.first, self.first + self.grid.cells
        down = self.levels[first - 1] if self.grid.follows_down and first > 0 else NEVER_BELOW
        up = self.levels[top + 1] if self.grid.follows_up and top < len(self.levels) - 1 else NEVER_ABOVE
        return down, up

    def _bought(self, index: int, cell: int, price: int, qty: int, fee: int, *, maker: bool) -> None:
        cost = price * qty + fee * UNITS_PER_QUOTE
        self._held[cell] = qty, cost
        out = self.outcome
        out.cash -= cost
        out.base += qty
        out.basis += cost
        out.fees += fee
        out.buys += 1
        out.fills.append(FastFill(index, True, cell + self.grid.lowest_index, price, qty, fee, maker, 0))

    def _sold(self, index: int, cell: int, price: int, qty: int, cost: int, fee: int, *, maker: bool) -> None:
        income = price * qty - fee * UNITS_PER_QUOTE
        out = self.outcome
        out.cash += income
        out.base -= qty
        out.basis -= cost
        out.profit += income - cost
        out.fees += fee
        out.sells += 1
        out.fills.append(FastFill(index, False, cell + self.grid.lowest_index, price, qty, fee, maker, income - cost))

    def _next(self, start: int) -> int:
        """The next candle in which anything happens."""
        if self._taken:
            return start
        levels = self.levels
        buy = levels[self._buys[-1]] if self._buys else NEVER_BELOW
        sell = levels[self._sells[0] + 1] if self._sells else NEVER_ABOVE
        above = self._waits_above()
        down, up = self._acts_at()
        low, high, close = self.candles.low, self.candles.high, self.candles.close
        size, block = len(low), _BLOCK
        while start < size:
            stop = min(start + block, size)
            found = np.less_equal(low[start:stop], max(buy, down))
            np.logical_or(found, np.greater_equal(high[start:stop], min(sell, above + 1, up)), out=found)
            first = int(found.argmax())
            if found[first]:
                index = start + first
                if low[index] <= buy or high[index] >= sell or close[index] > above or not down < close[index] < up:
                    return index
                start = index + 1  # it only went beyond a level for a moment
                continue
            start, block = stop, min(block * 4, _TOP_BLOCK)
        return size
