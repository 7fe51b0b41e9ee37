"""Loops of calls to the Prefect API that outlast a server that is away, restarts or errs."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

log = logging.getLogger(__name__)
_RETRY_SECONDS = 3.0
_COMPLAIN_SECONDS = 60.0


class PatientLoops:
    """Repeats calls for ever. `try_again_now` ends the waits of all of them."""

    def __init__(self) -> None:
        self._attempts: set[anyio.CancelScope] = set()

    async def forever(self, work: Callable[[], Awaitable[Any]], seconds: float) -> None:
        """Do `work` each `seconds`; after an error, which is logged once a minute, within three seconds."""
        complained_at = float("-inf")
        while True:
            with anyio.CancelScope() as attempt:
                self._attempts.add(attempt)
                try:
                    await work()
                    pause = seconds
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the worker
                    pause = min(seconds, _RETRY_SECONDS)
                    if time.monotonic() - complained_at >= _COMPLAIN_SECONDS:
                        complained_at = time.monotonic()
                        log.warning("Prefect API call failed, trying again each %.0f s: %r", pause, error)
                await anyio.sleep(pause)
            self._attempts.discard(attempt)

    def try_again_now(self) -> None:
        """The server answers again: Prefect's client would wait up to a minute before its next try."""
        for attempt in list(self._attempts):
            attempt.cancel()
