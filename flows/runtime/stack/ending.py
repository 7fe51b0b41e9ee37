"""The end of a stack: trading first, Valkey last, and what is left of the orders."""

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from flows.runtime.stack import children
from flows.runtime.stack.child_processes import Processes
from flows.runtime.stack.report import Summarise, completed_windows
from flows.runtime.stack.stop_report import (
    UNREADABLE,
    StopResult,
    journal_file,
    last_stop_file,
    read_orders,
    read_result,
    worker_stop_file,
    write_result,
)
from flows.runtime.stack.supervisor import Say
from tasks.base.redis import RedisClient
from tasks.settings.model import Settings

_READ_SECONDS = 20.0
_HOPELESS_SECONDS = 10.0  # for a worker whose Valkey does not come back: it cannot close anything


class StackEnd:
    """Ends what runs and tells what is left. `result` is true at every moment, however far the end has come."""

    def __init__(self, settings: Settings, folder: Path, processes: Processes, say: Say, traded: bool) -> None:
        """`traded`: the worker has begun to take runs, so it may have open orders."""
        self._settings, self._folder, self._processes, self._say = settings, folder, processes, say
        self._traded = traded
        self.summary: dict[str, Any] = {}
        self.result = self._last_known(stopped=not traded)

    async def in_order(
        self, redis: RedisClient | None, summarise: Summarise, started: datetime, hopeless: bool
    ) -> None:
        """Each process after the other. `hopeless`: there is no Valkey any more."""
        if hopeless and children.WORKER in self._processes:
            self._processes[children.WORKER].child.stop_seconds = _HOPELESS_SECONDS
        in_order = await self._stop_trading(hopeless)
        self.result = replace(self.result, stopped=in_order)
        await self._processes.stop(children.DASHBOARD)
        record = self._processes.record
        if record is not None:
            self.summary["flow_runs_completed"] = await asyncio.to_thread(
                completed_windows, record.prefect_api, started
            )
        await self._processes.stop(children.PREFECT_SERVER)
        await self._processes.stop(children.POSTGRES)
        if redis is not None and not hopeless:
            await self._read(redis, summarise, in_order)
        await self._processes.stop(children.VALKEY)

    async def _stop_trading(self, hopeless: bool) -> bool:
        """Let the worker drain and stop the pot; whether it did."""
        if children.WORKER not in self._processes or not self._traded:
            await self._processes.stop(children.WORKER)
            return True
        worker = self._processes[children.WORKER]
        if worker.is_running:
            await self._processes.stop(children.WORKER)
        await worker.stop()
        if not hopeless and self._worker_result() is None:
            self._say("The worker did not close the trading side: closing it without the worker")
            self._processes.note_stopping("a second try to cancel open orders")
            await worker.run_once(children.ONLY_STOP)
        told = self._worker_result()
        self.result = told or self.result
        return told is not None

    async def _read(self, redis: RedisClient, summarise: Summarise, in_order: bool) -> None:
        """The account's end from Redis; what the worker saw of the orders holds, others may trade on since."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                if self._worker_result() is None:
                    self.result = replace(await read_orders(self._settings, redis), stopped=in_order, as_of=None)
                self.summary |= await summarise(self._settings, redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._say(f"Redis does not answer, so the account's end is not known: {error or type(error).__name__}")

    def _worker_result(self) -> StopResult | None:
        return read_result(worker_stop_file(self._folder))

    def _last_known(self, stopped: bool) -> StopResult:
        known = read_result(journal_file(self._folder))
        if known is not None:
            return replace(known, stopped=stopped)
        return UNREADABLE if self._traded else StopResult(stopped, [], "0")

    def write(self, started: str) -> None:
        """Tell `gridflow stop`, and the next start, how it ended."""
        write_result(last_stop_file(self._folder), self.result, started)
        if self.result.orders_open is not None:
            write_result(journal_file(self._folder), self.result)
