"""Work in an event loop of its own, beside one that virtual time or Playwright holds."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread and a loop of its own, in real time; its result or its error."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
