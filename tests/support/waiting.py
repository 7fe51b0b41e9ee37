"""Waiting for a condition instead of sleeping."""

import time
from collections.abc import Callable


def until(question: Callable[[], object], seconds: float, what: str = "it") -> None:
    """Wait until the answer is true. Raises AssertionError, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
