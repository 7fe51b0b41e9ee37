"""One leader among the workers of an account: a lease with a fence. A new leader has a higher fence."""

import os
import time
from uuid import uuid4

from tasks.base.redis_client import RedisClient, script

LEASE_MS = 10_000
_MARGIN = 0.7  # a leader trusts its lease for this share of it: its clock and the answer's way take time
_PACKAGE = "tasks.base"


async def give_up(redis: RedisClient, lease: str, owner: str) -> None:
    """Let another worker lead at once, if `owner` still has the lease."""
    await script(redis, _PACKAGE, "end_lease")(keys=[lease], args=[owner])


class Leadership:
    """The right of one worker to do some work. `lease`, `fence`: its keys."""

    def __init__(self, redis: RedisClient, lease: str, fence: str, lease_ms: int = LEASE_MS) -> None:
        self._redis, self._names, self._lease_ms = redis, [lease, fence], lease_ms
        self._owner = f"{os.getpid()}:{uuid4().hex}"
        self._fence = 0
        self._until = float("-inf")

    @property
    def fence(self) -> int | None:
        """The fence while this worker surely leads; None otherwise."""
        return self._fence if time.monotonic() < self._until else None

    async def take(self) -> bool:
        """Take or renew the lease; whether this worker leads."""
        asked = time.monotonic()
        found = int(await script(self._redis, _PACKAGE, "lead")(keys=self._names, args=[self._owner, self._lease_ms]))
        self._fence = found
        self._until = asked + self._lease_ms / 1000 * _MARGIN if found else float("-inf")
        return bool(found)

    async def end(self) -> None:
        """Give the lease up."""
        self._until = float("-inf")
        await give_up(self._redis, self._names[0], self._owner)
