"""Waiting for a condition instead of sleeping."""

import time
from collections.abc import Callable

BUSY = 4  # a machine busy with other work takes up to so many times as long


def until(question: Callable[[], object], seconds: float, what: str = "it") -> None:
    """Wait until the answer is true. Raises AssertionError, naming `what`, after BUSY times `seconds`."""
    deadline = time.monotonic() + BUSY * seconds
    while not question():
        assert time.monotonic() < deadline, f"waited {BUSY * seconds} s for {what}"
        time.sleep(0.05)
