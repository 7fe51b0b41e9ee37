"""Ctrl-C in a command that keeps what it has done."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def one_interrupt(within: float = 1.0) -> Iterator[None]:
    """Ctrl-C interrupts once in so many seconds.

    The same key press may arrive twice: a launcher such as `uv run` passes it on to a process that has it already.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are for the main thread
        yield
        return
    last = float("-inf")

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= within:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
