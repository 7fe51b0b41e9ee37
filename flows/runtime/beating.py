"""Writes this process's heartbeat from the trading loop, and keeps which windows it runs."""

import asyncio
import importlib.metadata
import logging
import os
import socket
from dataclasses import dataclass
from uuid import uuid4

from redis.exceptions import RedisError

from tasks.base.clock import to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.call_counts import EXCHANGE_CALLS
from tasks.tick.heartbeat import BEAT_SECONDS, Heartbeat, HeldWindow, beat, end_beating

log = logging.getLogger(__name__)
SLICE_SECONDS = 0.25


@dataclass(frozen=True)
class Duty:
    """What a Prefect worker adds to the heartbeat of its process. Replaced as a whole, from any thread."""

    name: str = ""
    guards: bool = False
    draining: bool = False
    prefect_away_since_ms: int | None = None
    runs: tuple[str, ...] = ()


class Beating:
    """The heartbeat of this process. All methods but `worker` and `duty` are called on the trading loop."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        self.worker = uuid4().hex
        self.duty = Duty()
        self._redis_url, self._keys = redis_url, keys
        self._started_ms = to_ms(utc_now())
        self._windows: dict[object, HeldWindow] = {}
        self._lag = 0.0

    def begin_window(self, symbol: str, own_since_ms: int | None = None, run: str = "") -> object:
        """A window begins; what `end_window` needs. `own_since_ms`: since when the worker runs the symbol by itself.

        `run`: id of the Prefect run that handed it out.
        """
        key, since_ms = object(), own_since_ms or to_ms(utc_now())
        self._windows[key] = HeldWindow(symbol=symbol, own=own_since_ms is not None, since_ms=since_ms, run=run)
        return key

    def end_window(self, key: object) -> None:
        """It has ended, and its lease was given back."""
        self._windows.pop(key, None)

    def heartbeat(self) -> Heartbeat:
        """What this process says about itself now."""
        duty = self.duty
        return Heartbeat(
            worker=self.worker,
            version=_version(),
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ms=self._started_ms,
            lag_ms=int(self._lag * 1000),
            windows=tuple(self._windows.values()),
            **vars(duty),
        )

    async def run(self) -> None:
        """Beat until cancelled."""
        redis = connect(self._redis_url)
        try:
            await self.beat_to(redis)
        finally:
            await redis.aclose()

    async def beat_to(self, redis: RedisClient) -> None:
        """Beat each BEAT_SECONDS, and at once when the windows or the duty change."""
        loop = asyncio.get_running_loop()
        while True:
            due, said = loop.time() + BEAT_SECONDS, self._facts()
            counts = EXCHANGE_CALLS.batch()
            try:
                await beat(redis, keys=self._keys, heartbeat=self.heartbeat(), counts=counts)
                EXCHANGE_CALLS.received(counts)
                self._lag = 0.0
            except RedisError as error:
                log.warning("heartbeat not written", extra={"error": str(error)})
            while loop.time() < due and self._facts() == said:
                before = loop.time()
                await asyncio.sleep(SLICE_SECONDS)
                self._lag = max(self._lag, loop.time() - before - SLICE_SECONDS)

    async def end(self) -> None:
        """Take the heartbeat back: the process ends in order. Without Redis the heartbeat becomes old by itself."""
        redis = connect(self._redis_url, impatient=True)
        try:
            counts = EXCHANGE_CALLS.batch()
            await end_beating(redis, keys=self._keys, worker=self.worker, counts=counts)
            EXCHANGE_CALLS.received(counts)
        except RedisError as error:
            log.warning("heartbeat not taken back", extra={"error": str(error)})
        finally:
            await redis.aclose()

    def _facts(self) -> tuple[object, ...]:
        """What others must know at once. The list of runs can wait for the next beat."""
        duty = self.duty
        return (*self._windows, duty.draining, duty.guards, duty.prefect_away_since_ms is None)


def _version() -> str:
    return importlib.metadata.version("gridflow")
