"""A thread that watches the trading loop of a long-lived worker, and ends the process when the loop has stalled.

Leases and fences make that harmless: another process goes on with what Redis and the exchange hold. It is off until
`enable` is called, so that commands, tests and one-run processes are never ended by it.
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
_LAST_WORDS_SECONDS = 5.0
_enabled = threading.Event()


def enable() -> None:
    """Watch the trading loop of this process, once there is one."""
    _enabled.set()


def is_enabled() -> bool:
    """Whether `enable` was called."""
    return _enabled.is_set()


@dataclass(frozen=True)
class Patience:
    """What the watchdog bears, in seconds, and how often it looks."""

    lag: float = 12.0  # the loop does not run at all
    first_tick: float = 900.0  # of a window: it may have to rebuild the symbol from the exchange
    tick: float = 120.0  # beyond the planned moment, …
    intervals: float = 5.0  # … or that many planned intervals, whichever is longer
    look_every: float = 1.0


class Watchdog:
    """Pings the loop and knows when each running window should tick next."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, patience: Patience | None = None
    ) -> None:
        self._loop, self._loop_thread = loop, thread
        self._patience = patience or Patience()
        self._due: dict[object, tuple[str, float]] = {}
        self._answered = time.monotonic()
        self._over = threading.Event()

    # --- what windows say; called on the loop -----------------------------------------------------------
    def window(self, symbol: str) -> tuple[Callable[[float], None], Callable[[], None]]:
        """A window begins: call the first with the seconds to the next tick after each one, the second at its end."""
        key, patience = object(), self._patience
        self._due[key] = (symbol, time.monotonic() + patience.first_tick)

        def ticked(seconds: float) -> None:
            bear = max(patience.tick, patience.intervals * seconds)
            self._due[key] = (symbol, time.monotonic() + seconds + bear)

        def ended() -> None:
            self._due.pop(key, None)

        return ticked, ended

    # --- the thread -----------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to watch."""
        self._answered = time.monotonic()
        threading.Thread(target=self._watch, name="trading-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer: the loop is about to end."""
        self._over.set()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(self._patience.look_every):
            now = time.monotonic()
            if now - looked > self._patience.lag / 2:  # this thread itself stood still: a suspended machine, SIGSTOP
                self._forgive(now - looked)
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
        except RuntimeError:  # a closed loop; how long it has not answered is judged at the next look
            return

    def _forgive(self, seconds: float) -> None:
        self._answered = time.monotonic()
        for key, (symbol, due) in list(self._due.items()):
            self._due[key] = (symbol, due + seconds)

    def _stalled(self, now: float) -> str | None:
        if not self._loop_thread.is_alive():
            return "the trading loop has ended"
        if now - self._answered > self._patience.lag:
            return f"the trading loop has not run for {now - self._answered:.0f} s"
        for symbol, due in list(self._due.values()):
            if now > due:
                return f"{symbol}: no tick, {now - due:.0f} s after the last moment for one"
        return None


def end_process(why: str, loop: asyncio.AbstractEventLoop) -> None:
    """End this process at once with EXIT_STALLED; its log says why and where every thread and task stands."""
    # A lock that the stalled loop holds (the log's, say) must not keep the process alive.
    last = threading.Timer(_LAST_WORDS_SECONDS, os._exit, [EXIT_STALLED])
    last.daemon = True
    last.start()
    print(f"Trading has stalled: {why}. The worker ends to be started anew.", file=sys.stderr, flush=True)  # noqa: T201
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    lines = [line for task in _tasks(loop) for line in where(task)]
    print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
    log.critical("trading has stalled: the worker ends to be started anew", extra={"why": why})
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
    except RuntimeError:  # they change while they are looked at
        return set()


async def beat(file: Path, every: float = 1.0) -> None:
    """Touch a file for as long as the loop runs: how another process sees that it does."""
    while True:
        file.touch()  # noqa: ASYNC240 - one system call
        await asyncio.sleep(every)
