"""A worker process that ticks once and kills itself by SIGKILL at a named step."""

import asyncio
import os
import signal
from multiprocessing.process import BaseProcess
from uuid import uuid4

from tasks.base.redis_client import connect
from tests.support.desk import QUICK, open_desk, settings
from tests.support.forks import FORKS


def start_crash(url: str, step: str) -> BaseProcess:
    """Start it; it ends by itself."""
    process = FORKS.Process(target=_run, args=(url, step))
    process.start()
    return process


def _run(url: str, step: str) -> None:
    asyncio.run(_tick_and_die(url, step))


async def _tick_and_die(url: str, step: str) -> None:
    def checkpoint(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    redis = connect(url)
    desk = await open_desk(redis, settings(trading=QUICK))
    trader = await desk.trader(owner=uuid4().hex, checkpoint=checkpoint)
    await trader.tick()
