"""No silence: while a start or a stop says nothing for some seconds, a line says what is being waited for."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

QUIET_SECONDS = 2.5


class NoSilence:
    """Wraps what prints lines. `waiting` gives the names of what is being waited for."""

    def __init__(self, say: Callable[[str], None], waiting: Callable[[], Iterable[str]]) -> None:
        self._say, self._waiting = say, waiting
        self._begun = self._said_at = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print a line."""
        self._said_at = time.monotonic()
        self._say(line)

    async def keep(self) -> NoReturn:
        """Until cancelled: print a line when nothing was printed for QUIET_SECONDS while something is waited for."""
        while True:
            await asyncio.sleep(QUIET_SECONDS / 5)
            names = ", ".join(self._waiting())
            now = time.monotonic()
            if names and now - self._said_at >= QUIET_SECONDS:
                self(f"  … {names} ({now - self._begun:.0f} s)")
