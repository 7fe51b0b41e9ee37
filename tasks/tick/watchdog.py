"""A thread that watches the trading loop of a long-lived worker, and ends the process when the loop has stalled.

Leases and fences make that safe: another process continues from Redis and the exchange. The watchdog is off until
`enable` is called, so that it never ends commands, tests and processes that run one flow.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)
EXIT_STALLED = os.EX_SOFTWARE
_DUMP_SECONDS = 5.0
_enabled = threading.Event()


def enable() -> None:
    """Watch the trading loop of this process, once there is one."""
    _enabled.set()


def is_enabled() -> bool:
    """Whether `enable` was called."""
    return _enabled.is_set()


@dataclass(frozen=True)
class StallLimits:
    """How long each thing may take before trading counts as stalled. In seconds."""

    lag: float = 12.0  # the loop does not run at all
    first_tick: float = 900.0  # of a window: it may have to rebuild the symbol from the exchange
    tick: float = 120.0  # beyond the planned moment, …
    intervals: float = 5.0  # … or that many planned intervals, whichever is longer
    look_every: float = 1.0  # the watchdog's own interval


class Watchdog:
    """Pings the trading loop, and records by when each running window must tick next."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, limits: StallLimits | None = None
    ) -> None:
        self._loop, self._loop_thread = loop, thread
        self._limits = limits or StallLimits()
        self._due: dict[object, tuple[str, float]] = {}
        self._answered = time.monotonic()
        self._over = threading.Event()

    # --- called by windows, on the loop -----------------------------------------------------------
    def window(self, symbol: str) -> tuple[Callable[[float], None], Callable[[], None]]:
        """Watch a new window. Returns (call after each tick with the seconds to the next, call at the window's end)."""
        key, limits = object(), self._limits
        self._due[key] = (symbol, time.monotonic() + limits.first_tick)

        def on_tick(seconds: float) -> None:
            allowed = max(limits.tick, limits.intervals * seconds)
            self._due[key] = (symbol, time.monotonic() + seconds + allowed)

        def on_end() -> None:
            self._due.pop(key, None)

        return on_tick, on_end

    # --- the thread -----------------------------------------------------------------------------------
    def start(self) -> None:
        """Start watching."""
        self._answered = time.monotonic()
        threading.Thread(target=self._watch, name="trading-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching, before the loop ends."""
        self._over.set()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(self._limits.look_every):
            now = time.monotonic()
            if now - looked > self._limits.lag / 2:  # this thread was paused too: a suspended machine, SIGSTOP
                self._postpone(now - looked)
            looked = now
            why = self._stalled(now)
            if why is not None and not self._over.is_set():
                end_process(why, self._loop)
            self._ping()

    def _ping(self) -> None:
        def answer() -> None:
            self._answered = time.monotonic()

        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:  # the loop is closed; the next check sees that it does not answer
            return

    def _postpone(self, seconds: float) -> None:
        self._answered = time.monotonic()
        for key, (symbol, due) in list(self._due.items()):
            self._due[key] = (symbol, due + seconds)

    def _stalled(self, now: float) -> str | None:
        if not self._loop_thread.is_alive():
            return "the trading loop has ended"
        if now - self._answered > self._limits.lag:
            return f"the trading loop has not run for {now - self._answered:.0f} s"
        for symbol, due in list(self._due.values()):
            if now > due:
                return f"{symbol}: no tick, {now - due:.0f} s after the last moment for one"
        return None


def end_process(why: str, loop: asyncio.AbstractEventLoop) -> None:
    """End this process at once with EXIT_STALLED, after printing why, and where every thread and task waits."""
    # Ends the process even where a lock that the stalled loop holds, such as the log's, blocks the lines below.
    timer = threading.Timer(_DUMP_SECONDS, os._exit, [EXIT_STALLED])
    timer.daemon = True
    timer.start()
    print(f"Trading has stalled: {why}. The worker exits so that it can be restarted.", file=sys.stderr, flush=True)  # noqa: T201
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    lines = [line for task in _tasks(loop) for line in where(task)]
    print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
    log.critical("trading has stalled: the worker exits so that it can be restarted", extra={"why": why})
    os._exit(EXIT_STALLED)


def where(task: "asyncio.Task[object]") -> list[str]:
    """A task's name and the line at which each of its coroutines waits, outermost first."""
    lines = [f"Task {task.get_name()} waits:"]
    waiting: object | None = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None)
        if frame is not None:
            lines.append(f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}')
        waiting = getattr(waiting, "cr_await", None)
    return lines


def _tasks(loop: asyncio.AbstractEventLoop) -> set["asyncio.Task[object]"]:
    try:
        return asyncio.all_tasks(loop)
    except RuntimeError:  # tasks changed while they were read
        return set()


async def beat(file: Path, every: float = 1.0) -> None:
    """Touch a file each `every` seconds while the loop runs, so that another process can see that it does."""
    while True:
        file.touch()  # noqa: ASYNC240 - one system call
        await asyncio.sleep(every)
