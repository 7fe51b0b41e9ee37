"""Decides whether a symbol is dark: it should be ticked, and nobody ticks it. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from tasks.tick.heartbeat import BEAT_SECONDS, Heartbeat, Workers
from tasks.tick.models import TickReport

INTERVALS = 3  # a symbol is dark after so many planned intervals without a tick, …
LEAST_SECONDS = 2 * BEAT_SECONDS  # … and not before: a busy machine ticks late, and a lease lasts as long


class Lateness(NamedTuple):
    """How late a symbol's next tick is. `why`: '' unless the symbol is dark."""

    late_seconds: float = 0.0
    why: str = ""

    @property
    def dark(self) -> bool:
        """Whether nobody ticks the symbol."""
        return bool(self.why)


ON_TIME = Lateness()


def lateness(symbol: str, last: TickReport, workers: Workers, dead_ms: int) -> Lateness:
    """How late a symbol is that should be ticked. `last`: its newest tick. `dead_ms`: see `dead_after_ms`.

    Dark is a symbol without a tick for INTERVALS planned intervals, or whose worker died.
    """
    silent = (workers.now_ms - last.at_ms) / 1000
    late = round(max(silent - float(last.next_in), 0.0), 1)
    dead = _dead_reporter(symbol, last, workers, dead_ms)
    if dead is not None:
        since = (workers.now_ms - dead.at_ms) / 1000
        return Lateness(
            late, f"its worker {dead.name or dead.pid} on {dead.host} has not been heard of for {since:.0f} s"
        )
    if silent <= max(INTERVALS * float(last.next_in), LEAST_SECONDS):
        return Lateness(late)
    if not workers.living(dead_ms):
        return Lateness(late, f"no tick for {silent:.0f} s, and no worker is alive")
    return Lateness(late, f"no tick for {silent:.0f} s; one was due after {float(last.next_in):.1f} s")


def _dead_reporter(symbol: str, last: TickReport, workers: Workers, dead_ms: int) -> Heartbeat | None:
    """The dead worker that made the newest tick; None where it lives, has ended in order, or another one took over."""
    living = workers.living(dead_ms)
    if _runs(symbol, living):
        return None
    dead = [each for each in workers.heartbeats if each not in living and last.at_ms < each.at_ms + dead_ms]
    return next((each for each in dead if _runs(symbol, [each])), None)


def _runs(symbol: str, workers: Collection[Heartbeat]) -> bool:
    return any(window.symbol == symbol for worker in workers for window in worker.windows)


def keeps_watch(workers: Workers, me: str, dead_ms: int) -> bool:
    """Whether the process `me` tells of dark symbols: every Prefect worker does, or else the first of all processes."""
    living = workers.living(dead_ms)
    guards = [each.worker for each in living if each.guards]
    return me in guards if guards else me == min((each.worker for each in living), default=me)
