"""What a run of the stack waits for and tells: its first tick, the end of a recording, the end of --for."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from flows.runtime.stack.processes import age_seconds
from flows.runtime.stack.report import prices, recording_finished, tick_count
from flows.runtime.stack.supervisor import cancel
from tasks.base.errors import StackError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings

WATCH_SECONDS = 0.5
RECORDING_SECONDS = 2.0
FIRST_TICK_SECONDS = 180.0


class Milestones:
    """Follows one run. `stop_asked` is set by whoever ends it, also by the end of a recording."""

    def __init__(
        self, settings: Settings, say: Callable[[str], None], seconds: float | None, stop_asked: asyncio.Event
    ) -> None:
        """`seconds`: how long to run after the first tick (--for); None: until a stop is requested."""
        self._settings, self._say, self._seconds, self._stop_asked = settings, say, seconds, stop_asked
        self._command_age, self._begun = age_seconds(), time.monotonic()
        self.ticks_before = 0  # of the account, before this run
        self.first_tick: float | None = None  # seconds after the command
        self.is_serving = False
        self.ended_because = "asked to stop"

    async def serve(self, redis: RedisClient, log: Path) -> None:
        """Tell the first tick, then return when the run is to end. Raises StackError where no tick comes.

        `log`: the file that says why.
        """
        await self._wait_first_tick(redis, log)
        self.is_serving = True
        ending = asyncio.create_task(self.watch_recording(redis))
        try:
            if not await self._stopped_within(self._seconds):
                self.ended_because = f"{self._seconds:g} s are over (--for)"
        finally:
            await cancel(ending)

    async def watch_recording(self, redis: RedisClient) -> None:
        """Say when a replay has reached its end. Without --for, trading ends with it."""
        while not await recording_finished(self._settings, redis):
            if await self._stopped_within(RECORDING_SECONDS):
                return
        self._say("Recording finished: every symbol has reached its last candle, and prices change no more")
        if self._seconds is None:
            self.ended_because = "recording finished"
            self._stop_asked.set()

    async def time_first_tick(self, redis: RedisClient) -> None:
        """Note when the first tick comes."""
        while self.first_tick is None and not self._stop_asked.is_set():
            if await tick_count(redis, Keys(self._settings.account)) > self.ticks_before:
                self.first_tick = round(time.monotonic() - self._begun + self._command_age, 1)
            else:
                await asyncio.sleep(WATCH_SECONDS)

    async def _wait_first_tick(self, redis: RedisClient, log: Path) -> None:
        timing = asyncio.create_task(self.time_first_tick(redis))
        try:
            while self.first_tick is None:
                waited = time.monotonic() - self._begun
                if self._seconds is not None and waited > FIRST_TICK_SECONDS:
                    raise StackError(f"No tick within {waited:.0f} s. See {log}")
                if await self._stopped_within(WATCH_SECONDS):
                    return
        finally:
            await cancel(timing)
        text = await prices(self._settings, redis)
        self._say(f"First tick {self.first_tick:.1f} s after the command. {text}")

    async def _stopped_within(self, seconds: float | None) -> bool:
        """Wait that long (None: for ever) or until a stop is requested; whether one was."""
        try:
            async with asyncio.timeout(seconds):
                return await self._stop_asked.wait()
        except TimeoutError:
            return False
