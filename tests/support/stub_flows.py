"""Trivial flows for tests of the runtime: no exchange, no Redis books; they write files and sleep."""

import os
import time
from pathlib import Path

import anyio
from prefect import flow

from flows.runtime.cancelling import cancel_requested

_stop = Path(os.environ.get("STUB_STOP_FILE", "/nonexistent"))


@flow(name="grid-tick")
def grid_tick(symbol: str = "BTC/USDT", seconds: float = 0.2) -> str:
    """Count one tick of the symbol, then wait until the window ends, is cancelled or is stopped."""
    if url := os.environ.get("GRIDFLOW_REDIS_URL"):
        import redis

        from tasks.base.keys import Keys

        with redis.Redis.from_url(url) as client:
            client.hincrby(Keys("main").stats, f"ticks|{symbol}", 1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not cancel_requested() and not _stop.exists():
        time.sleep(0.05)
    return symbol


@flow(name="write-file")
def write_file(path: str) -> str:
    """Prove that the run ran, in which process."""
    Path(path).write_text(str(os.getpid()))
    return path


@flow(name="fail")
def fail() -> None:
    """Fail as flows do."""
    raise ValueError("this flow always fails")


@flow(name="leave")
def leave() -> None:
    """Try to take the whole process down."""
    raise SystemExit(3)


@flow(name="async-write")
async def async_write(path: str) -> None:
    """The async kind."""
    await anyio.Path(path).write_text("async")
