"""A worker process on the loopback exchange: one tick, in which it may die or stand still."""

import asyncio
import os
import signal
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import uuid4

from tasks.base.errors import LeaseLost
from tasks.base.redis_client import connect
from tasks.settings.model import Settings
from tests.support.binance.desk import join_binance_desk
from tests.support.binance.server import RemoteExchange
from tests.support.desk import settings
from tests.support.forks import FORKS
from tests.support.mortal import Mortal

FENCED_OFF, LIVED = 10, 100  # exit codes; see start_worker


# In SHORT a frozen worker's rights end within a second; in CALM a busy machine does not delay a request past its right.
SHORT = {"request_valid_seconds": "0.4", "protection_seconds": "0.9", "lease_seconds": 1}
CALM = {"request_valid_seconds": "2.5", "protection_seconds": "3", "lease_seconds": 10}


def own_settings(account: str, trading: Mapping[str, Any], **changes: Any) -> Settings:
    """A ±4 % grid under an account of its own; `trading`: SHORT or CALM."""
    return settings(account=account, trading=trading, **changes)


class _Steps:
    """Counts the steps a tick has done, and stands still at one."""

    def __init__(self, frozen_step: str) -> None:
        self.count, self._frozen_step = 0, frozen_step

    def reached(self, step: str) -> None:
        self.count += 1
        if step == self._frozen_step:
            os.kill(os.getpid(), signal.SIGSTOP)


async def _tick(
    redis_url: str, exchange_url: str, account: str, trading: Mapping[str, Any], life: int, frozen_step: str
) -> int:
    redis = connect(redis_url)
    desk = await join_binance_desk(redis, own_settings(account, trading), RemoteExchange(exchange_url))
    steps = _Steps(frozen_step)
    trader = await desk.trader(owner=uuid4().hex, checkpoint=steps.reached)
    waits = _Waits(life)
    asyncio.get_running_loop().set_task_factory(waits.new_task)
    try:
        await asyncio.create_task(trader.tick())
        return LIVED + min(waits.count, 100)
    except LeaseLost:
        return FENCED_OFF + steps.count
    finally:
        await desk.close()
        await redis.aclose()


class _Waits:
    """Counts the waits of all tasks together, those that a tick starts for its requests included; kills at one."""

    def __init__(self, life: int) -> None:
        self.count, self._life = 0, life

    def new_task(self, loop: asyncio.AbstractEventLoop, work: Any, **kwargs: Any) -> asyncio.Task[Any]:
        async def counted() -> Any:
            return await Mortal(work, 0, lambda: None, self._one_more)

        return asyncio.Task(counted(), loop=loop, **kwargs)

    def _one_more(self) -> None:
        self.count += 1
        if self.count == self._life:
            os.kill(os.getpid(), signal.SIGKILL)


def _main(*arguments: Any) -> None:
    try:
        code = asyncio.run(_tick(*arguments))
    except Exception:  # noqa: BLE001 - the tick failed; the exit code tells
        os._exit(1)
    os._exit(code)


def start_worker(
    redis_url: str, exchange_url: str, account: str, trading: Mapping[str, Any], life: int = 0, frozen_step: str = ""
) -> BaseProcess:
    """One tick in a process of its own: killed at its `life`-th wait, or stopped (SIGSTOP) at a step.

    Exit code: -SIGKILL; FENCED_OFF + the steps it had done when a script refused its fence; 1 when the tick failed
    otherwise; LIVED + the number of waits when it lived.
    """
    arguments = (redis_url, exchange_url, account, trading, life, frozen_step)
    process = FORKS.Process(target=_main, args=arguments, daemon=True)
    process.start()
    return process
