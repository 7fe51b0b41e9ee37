"""Waiting for a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
BUSY = 4  # a machine busy with other work takes up to so many times as long


def until(question: Callable[[], T], seconds: float, what: str = "it") -> T:
    """Wait until the answer is true; that answer. Raises AssertionError, naming `what`, after BUSY times `seconds`."""
    deadline = time.monotonic() + BUSY * seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {BUSY * seconds} s for {what}"
        time.sleep(0.05)
    return answer


async def until_so(question: Callable[[], Awaitable[object]], seconds: float = 10, what: str = "it") -> None:
    """The same for a question that is awaited."""
    deadline = time.monotonic() + BUSY * seconds
    while not await question():
        assert time.monotonic() < deadline, f"waited {BUSY * seconds} s for {what}"
        await asyncio.sleep(0.05)
