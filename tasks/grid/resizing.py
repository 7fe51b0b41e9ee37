"""Which resting buys to resize or cancel, so that a symbol follows its allocation. Pure.

A buy is resized by cancelling it now; a later tick places it again with another amount. Both go through the journal.
Shrinking comes before growing. The number of buys per tick is bounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from tasks.exchange.models import Side
from tasks.grid.models import Cell
from tasks.grid.plan_models import Limits, RestingBuy
from tasks.grid.sizing import filter_violation, reserve_units
from tasks.market.models import Snapshot

MAX_PER_TICK = 10  # resting buys replaced in one tick


class Candidate(NamedTuple):
    """A resting buy that may be resized. `wanted`: units (1e-8 quote) that it should reserve; 0: it has no money."""

    client_id: str
    buy: RestingBuy
    wanted: int

    @property
    def excess(self) -> int:
        """Units that it reserves beyond what it should; below 0 where it should grow."""
        return self.buy.units_left - self.wanted

    def is_off(self, tolerance: Decimal) -> bool:
        """Whether it differs from its wanted size by more than `tolerance`, a share of that size."""
        return abs(self.excess) > tolerance * self.wanted


class Candidates(NamedTuple):
    """Resting buys that can be resized, and the others."""

    sizeable: list[Candidate]
    fixed: list[Candidate]


def candidates(
    cells: Iterable[Cell],
    resting: Mapping[str, RestingBuy],
    amounts: Mapping[str, Decimal],
    snapshot: Snapshot,
    *,
    only_off: bool,
) -> Candidates:
    """The resting buys of these cells, in their order. `amounts`: base that a cell would buy now, by key.

    `only_off`: without those that have their amount. They matter where the symbol has to give money back.
    """
    found = Candidates([], [])
    for cell in cells:
        buy = resting.get(cell.order_id or "")
        if buy is None or (only_off and buy.qty == amounts.get(cell.key)):
            continue
        units = _units_wanted(cell, buy, amounts.get(cell.key), snapshot)
        (found.fixed if units is None else found.sizeable).append(Candidate(str(cell.order_id), buy, units or 0))
    return found


def _units_wanted(cell: Cell, buy: RestingBuy, qty: Decimal | None, snapshot: Snapshot) -> int | None:
    """Units that the cell's buy should reserve: 0 without money, None where it cannot be placed again now.

    One that is partly filled, or was sent to fill at once, is never placed again for its size.
    """
    market, price = snapshot.market, cell.buy_price
    if buy.filled or not buy.post_only or price >= snapshot.ask:
        return None
    if qty is None:
        return 0
    if filter_violation(market, Side.BUY, price, qty, snapshot.price) is not None:
        return None
    return reserve_units(price, qty, market.taker_fee)


class Resizing(NamedTuple):
    """Client ids to cancel; those of them whose cell buys again; how many more wait for a later tick."""

    cancel: tuple[str, ...]
    resized: tuple[str, ...]
    waiting: int


NO_RESIZING = Resizing((), (), 0)


def resize(
    candidates: Sequence[Candidate],
    limits: Limits,
    symbol_free: int,
    global_free: int,
    missing: int = 0,
    fixed: Sequence[Candidate] = (),
) -> Resizing:
    """Choose the resting buys (nearest to the price first) to cancel now.

    `symbol_free`, `global_free`: units that the symbol and the pool could still grant. `missing`: units that cells
    without an order lack because other buys of the symbol are slightly too large. `fixed` (nearest first): buys that
    cannot be resized. They are cancelled last, and only where the symbol stays above its allocation otherwise.
    """
    if not candidates and not fixed:
        return NO_RESIZING
    without_money = [one.client_id for one in reversed(candidates) if one.wanted == 0]
    sized = [one for one in candidates if one.wanted > 0]
    if limits.paused:  # nothing could be placed again: cancel only what is beyond the allocation
        return _bounded(_farthest([*fixed, *candidates], limits.over, ()), ())
    off = [one for one in sized if one.excess and one.is_off(limits.resize_tolerance)]
    too_large = [one.client_id for one in off if one.excess > 0]
    if without_money or too_large:
        return _bounded(without_money, too_large)
    if limits.over or missing:
        shrunk, still_over = _shrunk_within_tolerance(sized, max(limits.over, missing))
        cancelled = _farthest([*fixed, *sized], min(limits.over, still_over), shrunk)
        if cancelled or shrunk or limits.over:
            return _bounded(cancelled, [client_id for client_id in shrunk if client_id not in cancelled])
    return _grown(off, symbol_free, global_free)


def _bounded(cancelled: Sequence[str], resized: Sequence[str]) -> Resizing:
    """At most MAX_PER_TICK of them: those that are cancelled for good first, then those that are resized."""
    now = (*cancelled, *resized)[:MAX_PER_TICK]
    resized_now = tuple(client_id for client_id in now if client_id in resized)
    return Resizing(now, resized_now, len(cancelled) + len(resized) - len(now))


def _shrunk_within_tolerance(sized: Sequence[Candidate], needed: int) -> tuple[list[str], int]:
    """Slightly too large buys, nearest first, until shrinking them frees `needed` units; what is still needed then."""
    chosen: list[str] = []
    for one in sized:
        if needed > 0 and one.excess > 0:
            chosen.append(one.client_id)
            needed -= one.excess
    return chosen, max(needed, 0)


def _farthest(candidates: Sequence[Candidate], over: int, shrunk: Sequence[str]) -> list[str]:
    """The farthest buys, until cancelling them frees `over` units; those in `shrunk` free their wanted size only."""
    chosen: list[str] = []
    for one in reversed(candidates):
        if over > 0:
            over -= one.wanted if one.client_id in shrunk else one.buy.units_left
            chosen.append(one.client_id)
    return chosen


def _grown(small: Sequence[Candidate], symbol_free: int, global_free: int) -> Resizing:
    """Buys to grow, nearest first, as long as symbol and pool could grant the difference now."""
    chosen: list[str] = []
    for one in small:
        more = -one.excess
        if len(chosen) < MAX_PER_TICK and more <= min(symbol_free, global_free):
            symbol_free, global_free = symbol_free - more, global_free - more
            chosen.append(one.client_id)
    return Resizing(tuple(chosen), tuple(chosen), len(small) - len(chosen))
