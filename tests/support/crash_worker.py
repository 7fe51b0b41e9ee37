"""A worker process that ticks once and kills itself at a named step: `crash_worker URL STEP`."""

import asyncio
import os
import signal
import sys
from uuid import uuid4

from tasks.base.redis_client import connect
from tests.support.desk import open_desk, settings


async def _tick_and_die(url: str, step: str) -> None:
    def checkpoint(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    redis = connect(url)
    desk = await open_desk(redis, settings())
    trader = await desk.trader(owner=uuid4().hex, checkpoint=checkpoint)
    await trader.tick()


if __name__ == "__main__":
    asyncio.run(_tick_and_die(sys.argv[1], sys.argv[2]))
