"""The process's archiver: in a thread and an event loop of its own, so that no database ever delays a tick."""

import asyncio
from typing import Any

from tasks.base.cancelling import cancel_and_wait
from tasks.base.keys import Keys
from tasks.base.own_loop import OwnLoop
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.running import read_record
from tasks.tick.trading_mode import mode_of

DURABLE_SECONDS = 1.5  # for a flag or an action to reach the database


class Archiving:
    """Archives an account's records until it is closed. The thread starts with the first call."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings, self._redis_url = settings, redis_url
        self._loop = OwnLoop("archiver")
        self._redis: RedisClient | None = None
        self._archiver: Any = None
        self._running: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raises StateError where this process must not write the history. See `Archiver.check`."""
        await asyncio.wrap_future(self._loop.submit(self._check()))

    async def recover(self) -> bool:
        """Write back flags and books that Redis has lost; whether there were books. Raises StateError."""
        found: bool = await asyncio.wrap_future(self._loop.submit(self._recover()))
        return found

    async def restore_settings(self) -> None:
        """Put back in force the settings that Redis has lost. Raises StateError."""
        await asyncio.wrap_future(self._loop.submit(self._restore_settings()))

    async def _restore_settings(self) -> None:
        self._build()
        await self._archiver.restore_settings(self._settings)

    async def write_now(self) -> bool:
        """Write the newest flags and actions to the database; whether it has them within a second and a half."""
        found: bool = await asyncio.wrap_future(self._loop.submit(self._write_now()))
        return found

    async def _write_now(self) -> bool:
        self._build()
        found: bool = await self._archiver.write_now(DURABLE_SECONDS)
        return found

    async def prune(self) -> dict[str, int]:
        """Delete what the history keeps no longer; how many rows of each table. Raises HistoryUnavailable."""
        found: dict[str, int] = await asyncio.wrap_future(self._loop.submit(self._prune()))
        return found

    async def _prune(self) -> dict[str, int]:
        self._build()
        found: dict[str, int] = await self._archiver.prune(self._settings.history)
        return found

    async def _recover(self) -> bool:
        self._build()
        # Only `gridflow up` asks for --new-market: a worker of the user's own server has no such flag.
        found: bool = await self._archiver.recover(mode_of(self._settings), new_market=not self._is_in_stack())
        return found

    def _is_in_stack(self) -> bool:
        """Whether the Redis is that of a one-machine stack."""
        record = read_record(state_dir())
        return record is not None and record.redis == self._redis_url

    def start(self) -> None:
        """Archive from now on."""
        self._loop.submit(self._start())

    def close(self) -> None:
        """End archiving. Records that wait stay in Redis."""
        if self._loop.is_running:
            self._loop.submit(self._close()).result()
            self._loop.close()

    async def _check(self) -> None:
        self._build()
        await self._archiver.check()

    def _build(self) -> None:
        if self._archiver is None:
            from tasks.history.archiver import Archiver  # imports the database's libraries
            from tasks.history.database import Database, history_url

            self._redis = connect(self._redis_url)
            database = Database(history_url(self._settings, state_dir()))
            most_mb = self._settings.history.outbox_mb
            self._archiver = Archiver(self._redis, Keys(self._settings.account), database, most_mb)

    async def _start(self) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self._archiver.run(), name="archiver")

    async def _close(self) -> None:
        if self._running is not None:
            await cancel_and_wait([self._running])
        if self._archiver is not None and self._redis is not None:
            await self._archiver.close()
            await self._redis.aclose()
