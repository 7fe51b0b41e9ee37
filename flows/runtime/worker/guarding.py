"""Starts and ends what keeps a worker's symbols ticking beside Prefect: the watch, the guard and the housekeeping."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from flows.runtime.worker.guard import WindowGuard
from flows.runtime.worker.housekeeping import Housekeeping
from flows.runtime.worker.prefect_watch import PrefectWatch
from flows.runtime.worker.trading_side import OpenTrading, WorkerFacts
from tasks.base.errors import GridflowError

log = logging.getLogger(__name__)


class Guarding:
    """The guard of a worker, once the trading service is open."""

    def __init__(self) -> None:
        self.guard: WindowGuard | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no own window runs."""
        return self.guard is None or self.guard.is_idle

    @asynccontextmanager
    async def running(
        self,
        opened: OpenTrading | None,
        account: str,
        worker: Callable[[], WorkerFacts],
        on_return: Callable[[], None],
    ) -> AsyncIterator[None]:
        """Guard inside the block, also while the server is away. `on_return`: called when it answers again."""
        watch = PrefectWatch(on_return)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            if opened is not None:
                tasks.start_soon(self._guard, opened, account, worker, watch)
            yield
            tasks.cancel_scope.cancel()
        if self.guard is not None:
            await asyncio.wrap_future(self.guard.trading.leave())

    async def _guard(
        self, opened: OpenTrading, account: str, worker: Callable[[], WorkerFacts], watch: PrefectWatch
    ) -> None:
        try:
            trading = await anyio.to_thread.run_sync(opened)
        except GridflowError as error:  # every run says so too
            log.warning("this worker runs no window that Prefect does not hand out", extra={"why": str(error)})
            return
        self.guard = WindowGuard(trading, worker(), watch)
        redis = trading.connect()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.guard.run)
                tasks.start_soon(Housekeeping(self.guard, redis, account).run)
        finally:
            await redis.aclose()
