"""Counts of a process on their way to Redis, where those of all processes add up."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple


class Batch(NamedTuple):
    """What is to be added. `sequence`: a batch is added once, however often it is sent."""

    sequence: int
    counts: Mapping[str, int]


class Tally:
    """Counts by name. May be added to from any thread; one sender takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: Counter[str] = Counter()
        self._sent = Batch(0, {})

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._new[name] += count

    def batch(self) -> Batch:
        """What to send now: the same as before, until it was `received`."""
        with self._lock:
            if not self._sent.counts and self._new:
                self._sent, self._new = Batch(self._sent.sequence + 1, self._new), Counter()
            return self._sent

    def received(self, batch: Batch) -> None:
        """The batch has been added."""
        with self._lock:
            if batch.sequence == self._sent.sequence:
                self._sent = Batch(batch.sequence, {})
