"""Trivial flows for tests of the runtime: no exchange, no books; they write files and wait."""

import os
import time
from pathlib import Path

import anyio
import redis
from prefect import flow

from flows.runtime.worker.cancelling import cancel_requested
from tasks.base.keys import Keys
from tasks.settings.environment import state_dir


def _wait(seconds: float) -> None:
    """Like a window: until the time is over, the run is cancelled, or the worker is asked to stop."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not cancel_requested() and not (state_dir() / "stub.stop").exists():
        time.sleep(0.05)


@flow(name="grid-tick")
def grid_tick(symbol: str, seconds: float) -> None:
    """Count one tick of the symbol, then wait."""
    if url := os.environ.get("GRIDFLOW_REDIS_URL"):
        with redis.Redis.from_url(url) as client:
            client.hincrby(Keys("main").stats, f"ticks|{symbol}", 1)
    _wait(seconds)


@flow(name="long-window")
def long_window() -> None:
    """Wait a minute: long enough to be cancelled or drained."""
    _wait(60)


@flow(name="write-file")
def write_file(path: str = "") -> None:
    """Prove that the run ran, and in which process."""
    Path(path).write_text(str(os.getpid()))


@flow(name="async-write")
async def async_write(path: str = "") -> None:
    """The same as an async flow."""
    await anyio.Path(path).write_text(str(os.getpid()))


@flow(name="fail")
def fail() -> None:
    """Fail as flows do."""
    raise ValueError("this flow always fails")


@flow(name="leave")
def leave() -> None:
    """Try to take the whole process down."""
    raise SystemExit(3)
