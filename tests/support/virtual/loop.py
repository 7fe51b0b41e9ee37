"""An event loop whose clock stands still while anything can run and jumps to the next timer when nothing can.

What runs in it is the same every time, however slow the machine: no callback depends on how long another took. That
holds for waits of this process alone. Its servers and clients therefore talk over Unix sockets, on which what was
written can be read at once; whoever asks another process waits for the answer without giving up control
(`tests.support.virtual.redis`).
"""

import asyncio
import gc
import itertools
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, localcontext
from typing import Any, TypeVar

T = TypeVar("T")
START = datetime(2024, 2, 1, tzinfo=UTC)


class Standstill(RuntimeError):
    """Everybody waits, and no timer is left that could wake anybody."""


def moment(passed: float) -> datetime:
    """The time `passed` seconds after START, in UTC."""
    return START + timedelta(seconds=passed)


class VirtualClock:
    """The world's time: `passed` seconds since START."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        """The moment, in UTC."""
        return moment(self.passed)

    def ms(self) -> int:
        """The moment in ms since the epoch."""
        return (self.now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: either a socket is ready now or the clock jumps. Ready sockets come in order of age."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock, self._ages = clock, itertools.count()
        self._age: dict[int, int] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors; a socket is as old as its registration."""
        key = super().register(fileobj, events, data)
        self._age[key.fd] = next(self._ages)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; nothing, and time has passed, if nothing is. Raises Standstill without a timer."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise Standstill
        if not ready and timeout is not None:
            self._clock.passed += max(timeout, 0)
        return sorted(ready, key=lambda event: self._age[event[0].fd])


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. `clock` is its time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        super().__init__(_Jumping(self.clock))

    def time(self) -> float:
        """Seconds since the loop began."""
        return self.clock.passed

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run it here and now: threads keep no order."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller's, as from a thread
            done.set_exception(error)
        return done


def virtual_clock() -> VirtualClock:
    """The clock of the running loop. Raises TypeError in a loop of real time."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("this runs in virtual time only: see run_virtually")
    return loop.clock


def run_virtually(work: Callable[[], Coroutine[Any, Any, T]], seed: int) -> T:
    """Run in a loop of virtual time of its own.

    Everybody's `random` starts from `seed`; decimals round as ccxt has them round from its first order on; the garbage
    collector, which comes when it likes and may close things, comes afterwards.
    """
    random.seed(seed)
    gc.disable()
    try:
        with localcontext(rounding=ROUND_HALF_UP), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(work())
    finally:
        gc.enable()
        gc.collect()
