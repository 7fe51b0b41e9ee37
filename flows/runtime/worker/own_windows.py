"""Decides which windows this worker runs itself, and which of those must end. Pure.

Prefect hands windows out. A symbol that nobody ticks, because Prefect is away, its worker is dead or its deployment is
gone, gets a window of a worker's own until Prefect hands one out. Leases decide between several workers; the order
below only keeps them from trying all at once.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.tick.coverage import Coverage
from tasks.tick.heartbeat import Heartbeat

HANDOVER_SECONDS = 5.0  # how long Prefect may take to hand out the next window after one that ended on time
RANK_SECONDS = 1.0  # a worker waits so long for each one that is before it in the symbol's order, …
_MOST_RANKS = 3  # … and for so many at most

HANDED_OUT = "handed out by Prefect"
ELSEWHERE = "another worker runs it"
PAUSED = "paused in Prefect"


@dataclass(frozen=True)
class Cover:
    """Who ran the window of a symbol, and whether it was the worker's own."""

    worker: str
    own: bool


@dataclass(frozen=True)
class Bare:
    """A symbol without a window: since when (s, monotonic), and who ran the last one that this worker saw."""

    since: float
    last: Cover | None


@dataclass(frozen=True)
class Observed:
    """What this worker has seen so far: the symbols with a window, and those without."""

    covered: Mapping[str, Cover] = field(default_factory=dict)
    bare: Mapping[str, Bare] = field(default_factory=dict)


@dataclass(frozen=True)
class PrefectNow:
    """Whether the Prefect server is away, and when (s, monotonic) this worker last read its pauses."""

    away: bool
    read_at: float = float("-inf")


def observe(before: Observed, look: Coverage, now: float) -> Observed:
    """What is known after one more look."""
    covered = {
        window.symbol: Cover(worker.worker, window.own)
        for worker in look.living
        for window in sorted(worker.windows, key=lambda each: not each.own)
    }
    bare = {
        symbol: before.bare.get(symbol) or Bare(now, before.covered.get(symbol))
        for symbol in look.symbols
        if symbol not in covered
    }
    return Observed(covered, bare)


def windows_to_run(
    seen: Observed, look: Coverage, me: str, prefect: PrefectNow, now: float, not_before: Mapping[str, float]
) -> list[str]:
    """The symbols whose windows the worker `me` must begin now.

    `not_before`: the earliest moment (s, monotonic) for symbols whose last own window failed.
    """
    return [
        symbol
        for symbol, bare in seen.bare.items()
        if symbol not in look.leased
        and now >= not_before.get(symbol, now)
        and now >= bare.since + _patience(symbol, bare, look, prefect) + _turn(symbol, look, me)
        and not _is_paused(symbol, look)
        and (prefect.away or prefect.read_at >= bare.since)
    ]


def must_ask_prefect(seen: Observed, prefect: PrefectNow) -> bool:
    """Whether the pauses must be read again: a symbol became bare after they were read."""
    return not prefect.away and any(bare.since > prefect.read_at for bare in seen.bare.values())


def windows_to_end(look: Coverage, me: str, own: Iterable[str]) -> dict[str, str]:
    """Symbol → why this worker's own window of it must end. `own`: the symbols of its own windows."""
    return {symbol: why for symbol in own if (why := _end_reason(symbol, look, me))}


def keeps_house(look: Coverage, me: str) -> bool:
    """Whether `me` is the one worker of the account that mends deployments and ends orphaned runs."""
    able = [each.worker for each in look.living if _may_run(each) and each.prefect_away_since_ms is None]
    return me == min(able, default="")


def _end_reason(symbol: str, look: Coverage, me: str) -> str:
    if _is_paused(symbol, look):
        return PAUSED
    for worker in look.living:
        for window in worker.windows:
            if window.symbol != symbol:
                continue
            if not window.own:
                return HANDED_OUT
            if worker.worker != me and not worker.draining and _order(symbol, worker.worker) < _order(symbol, me):
                return ELSEWHERE
    return ""


def _is_paused(symbol: str, look: Coverage) -> bool:
    return look.record is not None and look.record.is_paused(symbol)


def _patience(symbol: str, bare: Bare, look: Coverage, prefect: PrefectNow) -> float:
    """Seconds that Prefect gets to hand out the next window: 0 where it is away or the last worker is."""
    if prefect.away:
        return 0
    workers = {worker.worker: worker for worker in look.living}
    if bare.last is None:
        return 0 if _died_with(symbol, look) else HANDOVER_SECONDS
    last = workers.get(bare.last.worker)
    return 0 if bare.last.own or last is None or last.draining else HANDOVER_SECONDS


def _died_with(symbol: str, look: Coverage) -> bool:
    """Whether a worker that is dead now ran the symbol's window."""
    living = {worker.worker for worker in look.living}
    dead = [worker for worker in look.workers.heartbeats if worker.worker not in living]
    return any(window.symbol == symbol for worker in dead for window in worker.windows)


def _turn(symbol: str, look: Coverage, me: str) -> float:
    """Seconds to leave to the workers before `me` in the symbol's order: it spreads the symbols over the workers."""
    before = [
        worker for worker in look.living if _may_run(worker) and _order(symbol, worker.worker) < _order(symbol, me)
    ]
    return min(len(before), _MOST_RANKS) * RANK_SECONDS


def _may_run(worker: Heartbeat) -> bool:
    return worker.guards and not worker.draining


def _order(symbol: str, worker: str) -> str:
    return hashlib.blake2b(f"{symbol} {worker}".encode(), digest_size=8).hexdigest()
