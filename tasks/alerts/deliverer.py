"""The deliverer: one worker of an account raises alerts from what happens, and sends the queue to every channel."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.exceptions import RedisError

from tasks.alerts import queue
from tasks.alerts.building import Configured
from tasks.alerts.outlet import Outlet
from tasks.base.cancelling import cancel_and_wait, pause
from tasks.base.clock import Clock, utc_now
from tasks.base.keys import Keys
from tasks.base.leader import LEASE_MS, Leadership
from tasks.base.redis_client import RedisClient
from tasks.views.store import parsed_channels

log = logging.getLogger(__name__)
_TRIM_SECONDS = 15.0
_AGAIN_SECONDS = 5.0  # after an unexpected error
_FORGET_MS = 86_400_000  # a channel that no deliverer had for a day is gone
Sleep = Callable[[float], Awaitable[None]]


class Deliverer:
    """Sends the queue of one account to `channels` while this worker leads. `sleep`: how to wait, for tests."""

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        channels: Mapping[str, Configured],
        language: str = "en",
        clock: Clock = utc_now,
        sleep: Sleep = asyncio.sleep,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._redis, self._keys, self._channels = redis, keys, dict(channels)
        self._language, self._clock, self._sleep = language, clock, sleep
        self._lease_seconds = lease_ms / 1000
        self._outlets: list[Outlet] = []
        self._ending = False
        self._taking = asyncio.Lock()
        self.leadership = Leadership(redis, keys.alerts_lease, keys.alerts_fence, lease_ms)

    async def run(self, *beside: Callable[[], Awaitable[None]]) -> None:
        """Lead whenever no other worker does, until cancelled. `beside`: further work of the leader, without an end."""
        tasks: list[asyncio.Task[None]] = []
        try:
            while True:
                leads = await self._leads()
                if leads and not tasks:
                    work = [self._deliver(outlet) for outlet in self._outlets]
                    tasks = [asyncio.create_task(each) for each in (*work, self._tidy())]
                    tasks += [asyncio.create_task(self._keep(each)) for each in beside]
                elif not leads and tasks:
                    await cancel_and_wait(tasks)
                    tasks, self._outlets = [], []
                await self._pause(self._lease_seconds / 5)
        finally:
            await cancel_and_wait(tasks)

    async def finish(self, seconds: float) -> None:
        """Deliver what is due, for at most so long, and give up the lease: the process ends. `run` must still run.

        Channels that fail are not waited for. Does nothing while another worker leads.
        """
        due = {outlet: outlet.steps + 2 for outlet in self._outlets}  # the second from now begins after this moment
        deadline = time.monotonic() + seconds
        await _until(lambda: all(each.steps >= n or each.fails for each, n in due.items()), deadline)
        self._ending = True
        await _until(lambda: not any(outlet.is_sending for outlet in self._outlets), deadline)
        try:
            async with self._taking:  # a renewal that is under way would take the lease again
                await self.leadership.end()
        except RedisError as error:
            log.warning("the lease of the alerts was not given back", extra={"error": str(error)})

    async def _pause(self, seconds: float) -> None:
        await pause(seconds, self._sleep)

    def _may_send(self) -> bool:
        return self.leadership.fence is not None and not self._ending

    async def _leads(self) -> bool:
        """Whether this worker leads. A new leader has its outlets then."""
        try:
            async with self._taking:
                leads = not self._ending and await self.leadership.take()
            if leads and not self._outlets:
                await queue.ensure_groups(self._redis, self._keys, self._channels)
                common = (self._language, self._clock, self._may_send)
                named = self._channels.items()
                self._outlets = [Outlet(self._redis, self._keys, name, each, *common) for name, each in named]
        except RedisError as error:
            log.debug("the lease of the alerts was not renewed", extra={"error": str(error)})
            leads = self.leadership.fence is not None and bool(self._outlets)
        return leads

    async def _deliver(self, outlet: Outlet) -> None:
        await self._keep(lambda: self._steps(outlet))

    async def _steps(self, outlet: Outlet) -> None:
        while True:
            await self._pause(await outlet.step())

    async def _tidy(self) -> None:
        async def tidy() -> None:
            while True:
                await self.tidy_once()
                await self._pause(_TRIM_SECONDS)

        await self._keep(tidy)

    async def tidy_once(self) -> None:
        """Store what waits, remove channels that are gone, and trim the queue."""
        waiting = await queue.waiting(self._redis, self._keys)
        for outlet in self._outlets:
            await outlet.note_waiting(waiting.get(outlet.name, 0))
        await self._forget_channels(set(waiting))
        await queue.trim(self._redis, self._keys)

    async def _forget_channels(self, groups: set[str]) -> None:
        stored: Any = await self._redis.hgetall(self._keys.alert_channels)
        known = {view.name: view for view in parsed_channels(stored)}
        newest = max((view.seen_ms for view in known.values()), default=0)
        gone = [name for name in groups - set(self._channels) if name not in known]
        gone += [name for name in known.keys() - set(self._channels) if newest - known[name].seen_ms > _FORGET_MS]
        if gone:
            await queue.drop_groups(self._redis, self._keys, gone)
            await self._redis.hdel(
                self._keys.alert_channels, *gone, *(f"{kind}|{name}" for kind in ("gate", "dropped") for name in gone)
            )

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work until cancelled; after an error, again."""
        while True:
            try:
                await work()
            except RedisError as error:
                log.warning("alerts: Redis does not answer", extra={"error": str(error)})
            except Exception:  # one channel's error must not end the others
                log.exception("alerts: unexpected error")
            await self._pause(_AGAIN_SECONDS)


async def _until(so: Callable[[], bool], deadline: float) -> None:
    """Wait until it is so, or until the deadline (s, monotonic)."""
    while not so() and time.monotonic() < deadline:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.05)
