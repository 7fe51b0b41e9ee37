"""What the screens read, shared by all tabs: one reading a second, however many are open.

The last status stays: while Redis is away it is shown, greyed, with the time that it is of.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import cache
from typing import Any, NamedTuple, TypeVar

from dashboard.connection import NoData, NoHistory, reader
from tasks.base.clock import to_ms, utc_now
from tasks.history.database import Database
from tasks.views.models import StatusView
from tasks.views.parts import PartView, database_away, redis_away
from tasks.views.steps import read_status

T = TypeVar("T")
STATUS_SECONDS = 1.0
_MANY_SYMBOLS, MANY_SECONDS = 20, 3.0  # an account of many symbols is read less often
_MOST_ANSWERS = 64


class Reading(NamedTuple):
    """The newest status there is. `at_ms`: when it was read. `away`: Redis does not answer now."""

    view: StatusView | None
    at_ms: int
    away: PartView | None = None


class StatusSource:
    """Reads the status once a second, less often for many symbols, for whoever asks. May be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = Reading(None, 0)
        self._asked = float("-inf")

    def now(self) -> Reading:
        """The status of this second; the last one where Redis does not answer."""
        with self._lock:
            view = self._last.view
            is_large = view is not None and len(view.symbols) > _MANY_SYMBOLS and self._last.away is None
            if time.monotonic() - self._asked >= (MANY_SECONDS if is_large else STATUS_SECONDS):
                self._last = self._read()
                self._asked = time.monotonic()
            return self._last

    def _read(self) -> Reading:
        source = reader()
        try:
            view = source.read(lambda redis: read_status(source.settings, redis, at_once=True))
        except NoData as error:
            return self._last._replace(away=redis_away(str(error), source.redis_outage.since_ms))
        return Reading(view, to_ms(utc_now()))


class Answers:
    """Answers of the history, kept for some seconds. Each question is asked once, also where many tabs ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: dict[Hashable, threading.Lock] = {}
        self._kept: dict[Hashable, tuple[float, object]] = {}

    def get(self, name: Hashable, seconds: float, ask: Callable[[], T]) -> T:
        """The answer to the question `name`, at most so old. Raises what `ask` raises."""
        with self._lock:
            asking = self._asking.setdefault(name, threading.Lock())
        with asking:
            kept = self._kept.get(name)
            if kept is not None and time.monotonic() - kept[0] < seconds:
                return kept[1]  # type: ignore[return-value]  # the name says what it is an answer to
            found = ask()
            with self._lock:
                self._kept[name] = (time.monotonic(), found)
                while len(self._kept) > _MOST_ANSWERS:
                    oldest = min(self._kept, key=lambda one: self._kept[one][0])
                    del self._kept[oldest]
                    self._asking.pop(oldest, None)
            return found

    def last(self, name: Hashable) -> Any:
        """The newest answer, however old; None where there was none."""
        kept = self._kept.get(name)
        return None if kept is None else kept[1]


@cache
def status_source() -> StatusSource:
    """The process's source of the status."""
    return StatusSource()


@cache
def answers() -> Answers:
    """The process's answers of the history."""
    return Answers()


def of_history(
    name: Hashable, seconds: float, query: Callable[[Database], Awaitable[T]], nothing: T
) -> tuple[T | None, PartView | None]:
    """(answer, None), or (None, what is wrong) where the history does not answer; `nothing` before it exists."""
    source = reader()
    try:
        return answers().get(name, seconds, lambda: source.past(query, nothing)), None
    except NoHistory as error:
        return None, database_away(str(error), source.history_outage.since_ms)
