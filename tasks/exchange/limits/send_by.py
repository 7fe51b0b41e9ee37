"""The latest time to send a request to place an order. Pure.

The caller opens a scope; ccxt's client looks at it in the moment in which it would send, after every wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_send_by_ms: ContextVar[int | None] = ContextVar("send_by_ms", default=None)


class NotSent(Exception):
    """The request would have left later than it is good for. Nothing was sent."""


@contextmanager
def send_by(at_ms: int) -> Iterator[None]:
    """Requests inside are sent until `at_ms` (our clock), and raise NotSent after that."""
    token = _send_by_ms.set(at_ms)
    try:
        yield
    finally:
        _send_by_ms.reset(token)


class SentInTime:
    """A part of ccxt's client class: it sends no request after its time."""

    async def fetch(self: Any, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """ccxt's fetch, which sends. Raises NotSent."""
        latest_ms, now_ms = _send_by_ms.get(), self.milliseconds()
        if latest_ms is not None and method != "GET" and now_ms > latest_ms:
            raise NotSent(f"it would have left {now_ms - latest_ms} ms too late")
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]
