"""Counts the round trips to Redis: whatever is sent at once, a pipeline included, is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from redis.asyncio.connection import AbstractConnection


class RoundTrips:
    """`count` so far."""

    count = 0

    def since(self, before: int) -> int:
        """How many there have been since then."""
        return self.count - before


@contextmanager
def counted_round_trips() -> Iterator[RoundTrips]:
    """Of every client in this process. Warm up first: a new connection and an unknown script cost some of their own."""
    trips, send = RoundTrips(), AbstractConnection.send_packed_command

    async def counted(connection: AbstractConnection, *args: Any, **kwargs: Any) -> Any:
        trips.count += 1
        return await send(connection, *args, **kwargs)

    with patch.object(AbstractConnection, "send_packed_command", counted):
        yield trips
