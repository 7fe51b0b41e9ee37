"""Which resting buys must change their size, or go, so that a symbol follows its allocation. Pure.

A buy is cancelled now and placed anew, with another amount, by a later tick: both through the journal. Shrinking comes
before growing, and a bounded number is replaced per tick.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from tasks.grid.models import Limits, RestingBuy

MOST_PER_TICK = 10  # resting buys replaced in one tick

# (client id, what rests, units it should reserve; 0: it has no money)
Candidate: TypeAlias = tuple[str, RestingBuy, int]


class Resizing(NamedTuple):
    """Client ids to cancel; those of them whose cell buys again; how many more are off and wait for a later tick."""

    cancel: tuple[str, ...]
    resized: tuple[str, ...]
    waiting: int


def resize(
    candidates: Sequence[Candidate],
    limits: Limits,
    symbol_free: int,
    global_free: int,
    missing: int = 0,
    fixed: Sequence[Candidate] = (),
) -> Resizing:
    """Decide which of the resting buys (nearest first) to cancel now.

    `symbol_free`, `global_free`: units that the symbol and the pool could still grant. `missing`: units that cells
    without an order lack because others of the symbol rest a little too large. `fixed` (nearest first) go last,
    and only where the symbol stays above its allocation without that.
    """
    without_money = [one[0] for one in reversed(candidates) if one[2] == 0]
    sized = [one for one in candidates if one[2] > 0]
    if limits.paused:  # nothing could be placed anew: only what is beyond the allocation goes
        return _bounded(_farthest([*fixed, *candidates], limits.over, ()), ())
    too_large = [one[0] for one in sized if _is_off(one, limits.resize_tolerance) and one[1].units > one[2]]
    if without_money or too_large:
        return _bounded(without_money, too_large)
    if limits.over or missing:
        smaller, still_over = _a_little_smaller(sized, max(limits.over, missing))
        gone = _farthest([*fixed, *sized], min(limits.over, still_over), smaller)
        return _bounded(gone, [client_id for client_id in smaller if client_id not in gone])
    return _grown([one for one in sized if _is_off(one, limits.resize_tolerance)], symbol_free, global_free)


def _is_off(candidate: Candidate, tolerance: Decimal) -> bool:
    _, held, units = candidate
    return abs(held.units - units) > tolerance * units


def _bounded(gone: Sequence[str], replaced: Sequence[str]) -> Resizing:
    """As many as one tick may take: those that go, then those with another size."""
    cancel = (*gone, *replaced)[:MOST_PER_TICK]
    resized = tuple(client_id for client_id in cancel if client_id in replaced)
    return Resizing(cancel, resized, len(gone) + len(replaced) - len(cancel))


def _a_little_smaller(sized: Sequence[Candidate], needed: int) -> tuple[list[str], int]:
    """Buys within the tolerance whose present size gives back `needed` units, nearest first; what is still missing."""
    chosen: list[str] = []
    for client_id, held, units in sized:
        if needed > 0 and held.units > units:
            chosen.append(client_id)
            needed -= held.units - units
    return chosen, max(needed, 0)


def _farthest(candidates: Sequence[Candidate], over: int, smaller: Sequence[str]) -> list[str]:
    """The farthest buys, until `over` units are given back; those in `smaller` give back their present size."""
    chosen: list[str] = []
    for client_id, held, units in reversed(candidates):
        if over > 0:
            over -= units if client_id in smaller else held.units
            chosen.append(client_id)
    return chosen


def _grown(small: Sequence[Candidate], symbol_free: int, global_free: int) -> Resizing:
    """Nearest first, as long as symbol and pool could grant the difference now."""
    chosen: list[str] = []
    for client_id, held, units in small:
        more = units - held.units
        if len(chosen) < MOST_PER_TICK and more <= min(symbol_free, global_free):
            symbol_free, global_free = symbol_free - more, global_free - more
            chosen.append(client_id)
    return Resizing(tuple(chosen), tuple(chosen), len(small) - len(chosen))
