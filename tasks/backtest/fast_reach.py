"""The fast engine where only levels near the price have orders (`activation_pct`). Pure.

A level has no order while it is farther from the price than the share. One that has an order keeps it until it is a
quarter farther away: see `tasks.settings.grids.placement.is_active`. An order that is cancelled at a tick is free again
at the next one.
"""

from bisect import insort

from tasks.backtest.candles import NEVER_ABOVE, CandleColumns
from tasks.backtest.fast import FastGrid, FastRun, Reach
from tasks.paper.units import Fees


class ReachRun(FastRun):
    """Plays one grid. `_waits` has all cells that want to buy and have no order, on either side of the price."""

    def __init__(self, grid: FastGrid, candles: CandleColumns, fees: Fees) -> None:
        super().__init__(grid, candles, fees)
        assert grid.reach is not None
        share, whole = grid.reach
        self._near: Reach = share, whole
        self._kept: Reach = share * 5, whole * 4
        self._far_sells: list[int] = []  # cells that hold something and have no order
        self._cancelled: list[int] = []  # cells whose order was cancelled at the last tick
        self._close = 0

    def _in_range(self, free: list[int], close: int) -> list[int]:
        freed = [cell for cell in self._cancelled if cell not in self._held]
        return super()._in_range([*free, *freed], close)

    def _order(self, index: int, close: int, free: list[int], holding: list[int]) -> None:
        levels = self.levels
        holding = [*holding, *(cell for cell in self._cancelled if cell in self._held), *self._far_sells]
        wanting = [*free, *self._waits]
        self._close, self._waits, self._far_sells = close, [], []
        self._cancelled = [cell for cell in self._buys if not _within(levels[cell], close, self._kept)]
        self._cancelled += [cell for cell in self._sells if not _within(levels[cell + 1], close, self._kept)]
        self._buys = [cell for cell in self._buys if cell not in self._cancelled]
        self._sells = [cell for cell in self._sells if cell not in self._cancelled]
        for cell in sorted(wanting):
            near = levels[cell] < close and _within(levels[cell], close, self._near)
            insort(self._buys if near else self._waits, cell)
        far = [cell for cell in holding if not _within(levels[cell + 1], close, self._near)]
        self._sell(index, close, [cell for cell in holding if cell not in far])
        self._far_sells = far

    def _next(self, start: int) -> int:
        return start if self._cancelled else super()._next(start)

    def _waits_above(self) -> int:
        return min((self.levels[cell] for cell in self._waits if self.levels[cell] >= self._close), default=NEVER_ABOVE)

    def _acts_at(self) -> tuple[int, int]:
        """Where the range moves, an order ends, or a level comes near."""
        down, up = super()._acts_at()
        levels, close = self.levels, self._close
        falls, rises = [down], [up]
        if self._buys:
            rises.append(_highest(levels[self._buys[0]], self._kept) + 1)
        if self._sells:
            falls.append(_lowest(levels[self._sells[-1] + 1], self._kept) - 1)
        idle = [levels[cell] for cell in self._waits if levels[cell] < close]
        idle += [levels[cell + 1] for cell in self._far_sells]
        falls += [_highest(level, self._near) for level in idle if level < close]
        rises += [_lowest(level, self._near) for level in idle if level > close]
        return max(falls), min(rises)


def _within(level: int, price: int, reach: Reach) -> bool:
    share, whole = reach
    return abs(level - price) * whole <= price * share


def _highest(level: int, reach: Reach) -> int:
    """The highest price that is near a level below it."""
    share, whole = reach
    return level * whole // (whole - share) if share < whole else NEVER_ABOVE - 1


def _lowest(level: int, reach: Reach) -> int:
    """The lowest price that is near a level above it."""
    share, whole = reach
    return -(-level * whole // (whole + share))
