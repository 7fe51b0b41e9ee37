"""An event loop in a thread of its own, so that its work never delays a tick. The thread starts with the first call."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_CLOSE_SECONDS = 10


class OwnLoop:
    """The loop. `name`: of its thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the loop; its result later. May be called from any thread."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and not closed."""
        return self._loop is not None

    def close(self) -> None:
        """End the loop and its thread, after what still runs, for at most ten seconds. Does nothing where it was never
        started.

        A cancelled call to SQLite runs on in a thread until the file is free, and closes its connection then.
        """
        if self._loop is None or self._thread is None:
            return
        self.submit(_rest()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        self._loop.close()
        self._loop = None


async def _rest() -> None:
    """Wait for every other task of the loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_CLOSE_SECONDS)
