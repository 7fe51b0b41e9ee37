"""An archiver process that kills itself by SIGKILL at its n-th wait."""

import asyncio
import os
import signal
from multiprocessing.process import BaseProcess

from sqlalchemy import make_url

from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.history.archiver import Archiver
from tasks.history.database import Database
from tests.support.forks import FORKS
from tests.support.mortal import Mortal


def start_archiver(redis_url: str, database_url: str, life: int) -> BaseProcess:
    """A process that archives all that waits and ends; or dies before, in its `life`-th wait."""
    process = FORKS.Process(target=_archive, args=(redis_url, database_url, life))
    process.start()
    return process


def _archive(redis_url: str, database_url: str, life: int) -> None:
    asyncio.run(_run(redis_url, database_url, life))


async def _run(redis_url: str, database_url: str, life: int) -> None:
    redis = connect(redis_url)
    archiver = Archiver(redis, Keys("main"), Database(make_url(database_url)), 256)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        while await archiver.step():
            pass

    await Mortal(work(), life, die)
    await archiver.close()
    await redis.aclose()
