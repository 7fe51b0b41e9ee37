"""Ending asyncio tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

_REPEAT_SECONDS = 1.0


async def cancel_and_wait(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks and wait until all have ended, whatever they end with.

    Repeats the cancellation: `wait_for` of Python 3.11, which Redis calls go through, may lose one.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_REPEAT_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def pause(seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Sleep; but end at once where the task was cancelled before and the cancellation was lost on its way."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await sleep(seconds)
