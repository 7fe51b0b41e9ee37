"""A worker's trading side that stalls: `python -m tests.support.stalling_worker REDIS_URL loop|dead|tick|off`.

`loop`: something blocks the loop. `dead`: the loop ends. `tick`: a tick waits for ever. `off`: the loop is blocked for
a moment in a process that did not switch the watchdog on, which ends with code 0.
"""

import asyncio
import sys
import threading
import time
from functools import partial
from unittest.mock import patch

from flows.runtime.trading import TradingService
from tasks.tick import watchdog
from tests.support.desk import BTC, settings

QUICK = watchdog.StallLimits(lag=1.0, first_tick=3.0, tick=1.0, intervals=0.0, look_every=0.1)


async def block(seconds: float) -> None:
    """Let nothing else run."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the fault


async def wait_for_ever() -> None:
    """What an answer that never comes looks like."""
    await asyncio.Event().wait()


def stall(trading: TradingService, kind: str) -> None:
    """Make the fault."""
    trading.open()
    if kind == "dead":
        trading._loop.call_soon_threadsafe(trading._loop.stop)
        threading.Event().wait()
    if kind == "tick":
        with patch("tasks.tick.trader.GridTrader._begin", lambda *_: wait_for_ever()):
            trading.run_window(BTC, None, lambda: False)
    trading.run(block(2.5 if kind == "off" else 60))


def main(url: str, kind: str) -> None:
    """Entry point of the process."""
    if kind != "off":
        watchdog.enable()
    own = settings(redis_url=url, paper={"market": "synthetic"})
    with patch.object(watchdog, "Watchdog", partial(watchdog.Watchdog, limits=QUICK)):
        stall(TradingService(own), kind)


if __name__ == "__main__":
    main(*sys.argv[1:])
