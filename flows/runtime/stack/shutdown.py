"""Shutting the stack down: trading first, Valkey last; which orders are left."""

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from flows.runtime.stack import children
from flows.runtime.stack.child_processes import Processes
from flows.runtime.stack.history import drain_history
from flows.runtime.stack.report import Summarise, completed_windows
from flows.runtime.stack.stop_report import (
    UNKNOWN,
    StopResult,
    last_stop_file,
    open_orders_file,
    read_orders,
    read_result,
    worker_stop_file,
    write_result,
)
from flows.runtime.stack.supervisor import Say
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings

_READ_SECONDS = 20.0
_NO_REDIS_SECONDS = 10.0  # for a worker whose Valkey does not come back: it cannot cancel anything


class StackShutdown:
    """Shuts the stack down and reports what is left. `result` is correct at every moment of the shutdown."""

    def __init__(self, settings: Settings, folder: Path, processes: Processes, say: Say, traded: bool) -> None:
        """`traded`: the worker has begun to take runs, so it may have open orders."""
        self._settings, self._folder, self._processes, self._say = settings, folder, processes, say
        self._traded = traded
        self.summary: dict[str, Any] = {}
        self.result = self._last_known(stopped=not traded)

    async def in_order(
        self, redis: RedisClient | None, summarise: Summarise, started: datetime, without_redis: bool
    ) -> None:
        """End one process after the other. `without_redis`: Valkey has failed for good."""
        if without_redis and children.WORKER in self._processes:
            self._processes[children.WORKER].child.stop_seconds = _NO_REDIS_SECONDS
        in_order = await self._stop_trading(without_redis)
        self.result = replace(self.result, stopped=in_order)
        await self._processes.stop(children.DASHBOARD)
        if redis is not None and not without_redis and self._traded:
            self._processes.note_stopping("the last records to reach the history")
            await drain_history(self._settings, redis, self._folder, self._say)
        record = self._processes.record
        if record is not None:
            self.summary["flow_runs_completed"] = await asyncio.to_thread(
                completed_windows, record.prefect_api, started
            )
        await self._processes.stop(children.PREFECT_SERVER)
        await self._processes.stop(children.POSTGRES)
        if redis is not None and not without_redis:
            await self._read(redis, summarise, in_order)
        await self._processes.stop(children.VALKEY)

    async def _stop_trading(self, without_redis: bool) -> bool:
        """Let the worker drain and stop the pot; whether it reported that it did."""
        if children.WORKER not in self._processes or not self._traded:
            await self._processes.stop(children.WORKER)
            return True
        worker = self._processes[children.WORKER]
        if worker.is_running:
            await self._processes.stop(children.WORKER)
        await worker.stop()
        if not without_redis and self._worker_result() is None:
            self._say("The worker did not stop the pot; a second process stops it")
            self._processes.note_stopping("a second try to cancel open orders")
            await worker.run_once(children.ONLY_STOP)
        reported = self._worker_result()
        self.result = reported or self.result
        return reported is not None

    async def _read(self, redis: RedisClient, summarise: Summarise, in_order: bool) -> None:
        """Read the final account from Redis; open orders only where the worker reported none: others may trade on."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                if self._worker_result() is None:
                    self.result = replace(await read_orders(self._settings, redis), stopped=in_order, as_of=None)
                self.summary |= await summarise(self._settings, redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._say(f"Redis does not answer, so the final account is not known: {error or type(error).__name__}")

    def _worker_result(self) -> StopResult | None:
        return read_result(worker_stop_file(self._folder))

    def _last_known(self, stopped: bool) -> StopResult:
        known = read_result(open_orders_file(self._folder))
        if known is not None:
            return replace(known, stopped=stopped)
        return UNKNOWN if self._traded else StopResult(stopped, [], "0")

    def write(self, started: str) -> None:
        """Write the result for `gridflow stop` and for the next start."""
        write_result(last_stop_file(self._folder), self.result, started)
        if self.result.orders_open is not None:
            write_result(open_orders_file(self._folder), self.result)
