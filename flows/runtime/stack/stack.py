"""The one-machine stack: `gridflow up` from the first process to the last."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from flows.runtime.stack import children
from flows.runtime.stack import record as record_file
from flows.runtime.stack.child_processes import Processes, all_at_once, this_process
from flows.runtime.stack.health_checks import redis_is_ready
from flows.runtime.stack.history import check_market
from flows.runtime.stack.log_files import cap_log, log_files
from flows.runtime.stack.milestones import Milestones
from flows.runtime.stack.operator_log import OperatorLog
from flows.runtime.stack.ports import PortClaims
from flows.runtime.stack.postgres import Postgres, prepare
from flows.runtime.stack.prefect_server import PREFERRED_PORT as PREFECT_PORT
from flows.runtime.stack.prefect_server import api_url
from flows.runtime.stack.progress import NoSilence
from flows.runtime.stack.publishing import put_settings_in_force
from flows.runtime.stack.remembered_ports import StackPorts
from flows.runtime.stack.report import MemoryPeak, Summarise, account_summary, equity_now, note_status, tick_count
from flows.runtime.stack.shutdown import StackShutdown
from flows.runtime.stack.stale_processes import end_stale_processes, kill_stale_processes
from flows.runtime.stack.stop_report import (
    keep_orders_file,
    last_stop_file,
    open_orders_file,
    read_orders,
    write_result,
)
from flows.runtime.stack.supervisor import Say, cancel
from flows.runtime.stack.valkey import PREFERRED_PORT as VALKEY_PORT
from flows.runtime.stack.valkey import redis_url
from tasks.base.errors import StackError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.load import public_values
from tasks.settings.model import Settings
from tasks.settings.running import StackRecord, record_path, stale_stack

_DASHBOARD_PORT = 8501
_SAMPLE_SECONDS = 5.0
_JOURNAL_SECONDS = 15.0
_TAKE_OVER_SECONDS = 240.0


@dataclass(frozen=True)
class UpOptions:
    """The command line's options for one run of the stack."""

    seconds: float | None = None
    dashboard: bool = True
    liquidate: bool = False
    new_market: bool = False  # may begin where the old one was lost
    worker_module: str = children.WORKER_MODULE
    summarise: Summarise = account_summary
    note_status: Callable[[Settings, RedisClient, Path], Awaitable[None]] = note_status
    on_ready: Callable[[StackRecord, list[str]], None] = field(default=lambda _record, _logs: None)


class Stack:
    """Everything `gridflow up` starts; `run` returns when all of it has ended."""

    def __init__(self, settings: Settings, folder: Path, options: UpOptions, say: Say) -> None:
        self._settings = settings
        self._folder = folder
        self._logs = folder / "logs"
        self._options = options
        self._say = NoSilence(OperatorLog(self._logs, say), self._waited_for)
        self._started = datetime.now(UTC)
        self._processes = Processes(folder, self._say, self._on_failure)
        self._failed: dict[str, str] = {}
        self._claims = PortClaims()
        self._stop_asked = asyncio.Event()
        self._end_asked = asyncio.Event()
        self._peak = MemoryPeak()
        self._equity_before: str | None = None
        self._milestones = Milestones(settings, self._say, options.seconds, self._stop_asked)
        self._redis_url = ""
        self._redis: RedisClient | None = None
        self._preparing: asyncio.Future[Postgres] | None = None

    async def run(self) -> dict[str, Any]:
        """Start, serve until Ctrl-C, SIGTERM or the end of `seconds`, stop in order; returns the final summary.

        Raises StackError when something cannot start; what had started is stopped first.
        """
        with record_file.sole_owner(self._folder):
            self._logs.mkdir(mode=0o700, exist_ok=True)
            last_stop_file(self._folder).unlink(missing_ok=True)
            keep_orders_file(self._folder).unlink(missing_ok=True)
            self._listen_to_signals()
            await asyncio.to_thread(self._take_over)
            watch = asyncio.create_task(self._sample())
            loud = asyncio.create_task(self._say.keep())
            try:
                await self._run_until(self._stop_asked, self._start())
                await self._run_until(self._stop_asked, self._serve())
            except BaseException:
                await self._stop()
                raise
            finally:
                watch.cancel()
            try:
                return await self._stop()
            finally:
                loud.cancel()

    # --- start -----------------------------------------------------------------------------------------
    def _take_over(self) -> None:
        """Take over from a stack that was killed: end its processes in order before anything else starts."""
        killed = stale_stack(self._folder)
        if killed is not None:
            end_stale_processes(killed, self._say, _TAKE_OVER_SECONDS)

    def _waited_for(self) -> list[str]:
        """What a start or a stop waits for now, in words."""
        record = self._processes.record
        if record is not None and record.stopping:
            return [f"waiting for {record.stopping}"]
        starting = self._processes.starting()
        if starting:
            return [f"starting {', '.join(starting)}"]
        return (
            []
            if self._milestones.is_serving
            else ["preparing the state folder" if record is None else "waiting for the first tick"]
        )

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if not self._stop_asked.is_set():
            self._say("Stopping in order; a second signal ends everything at once")
            self._stop_asked.set()
            return
        self._say("Ending everything at once; open orders stay open")
        self._end_asked.set()
        kill_stale_processes(self._folder)
        self._processes.kill()

    def _on_failure(self, name: str, why: str) -> None:
        """A child has failed too often: stop the stack, unless the child is the dashboard."""
        if name == children.DASHBOARD:
            self._say("Trading goes on without the dashboard")
            self._forget_dashboard()
            return
        self._failed[name] = why
        if not self._stop_asked.is_set():
            self._say("Trading stops: stopping in order; Ctrl-C ends everything at once")
            self._stop_asked.set()

    async def _run_until(self, asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it is done or `asked` is set. It is not started where `asked` is set already."""
        if asked.is_set():
            work.close()
            return
        task = asyncio.ensure_future(work)
        wish = asyncio.ensure_future(asked.wait())
        try:
            await asyncio.wait({task, wish}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(wish)
            await cancel(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if not asked.is_set() or not isinstance(error, StackError):
            raise error
        self._say(str(error))  # a child that ended because the whole stack ends

    async def _start(self) -> None:
        claimed = StackPorts(self._folder, self._claims, self._say)
        ports = {
            "prefect": claimed.claim(children.PREFECT_SERVER, PREFECT_PORT),
            "dashboard": claimed.claim(children.DASHBOARD, _DASHBOARD_PORT),
        }
        own = self._settings.redis_url
        valkey_port = claimed.claim(children.VALKEY, VALKEY_PORT, "redis") if own is None else 0
        claimed.write()
        redis = own.get_secret_value() if own else redis_url(valkey_port)
        with_dashboard = self._options.dashboard and children.has_dashboard()
        self._preparing = asyncio.ensure_future(asyncio.to_thread(prepare, self._folder))
        database = await asyncio.shield(self._preparing)  # a thread cannot be cancelled: the stop waits for it
        record = StackRecord(
            started=self._started.isoformat(),
            state=str(self._folder),
            parent=this_process(),
            redis=_without_password(redis),
            prefect_api=api_url(ports["prefect"]),
            prefect_ui=api_url(ports["prefect"]).removesuffix("/api"),
            dashboard=children.dashboard_url(ports["dashboard"]) if with_dashboard else None,
            postgres_data=str(database.data),
            settings=public_values(self._settings),
        )
        self._processes.write_record(record)
        if own:
            if not await redis_is_ready(redis):
                raise StackError(f"Your Redis {_without_password(redis)} does not answer")
        else:
            await self._processes.launch(children.valkey(self._folder, self._logs, valkey_port))
        self._redis_url, self._redis = redis, connect(redis)
        self._milestones.ticks_before = await tick_count(self._redis, Keys(self._settings.account))
        await check_market(self._settings, self._redis, self._folder, self._options.new_market)
        self._equity_before = await equity_now(self._settings, self._redis)
        await put_settings_in_force(self._redis, self._settings, self._options.liquidate, self._say)
        worker = children.worker(self._folder, self._logs, ports["prefect"], redis, self._options.worker_module)
        # The worker's imports take as long as the server's first start, so both go on at once.
        await all_at_once(self._launch_server(ports["prefect"], database), self._processes.launch(worker))
        timing = asyncio.create_task(
            self._milestones.time_first_tick(self._redis)
        )  # it comes while the dashboard is still starting
        try:
            if with_dashboard:
                await self._launch_dashboard(ports["dashboard"], ports["prefect"], redis)
        finally:
            await cancel(timing)
        self._options.on_ready(record, log_files(self._logs))

    async def _launch_server(self, port: int, database: Postgres) -> None:
        await self._processes.launch(children.postgres(database, self._logs))
        await self._processes.launch(children.prefect_server(self._folder, self._logs, port, database))

    async def _launch_dashboard(self, port: int, prefect_port: int, redis: str) -> None:
        """Start the dashboard. Trading goes on without it when it does not start."""
        try:
            await self._processes.launch(children.dashboard(self._folder, self._logs, port, prefect_port, redis))
        except StackError as error:
            self._say(f"Trading goes on without the dashboard. {error}")
            await self._processes.stop(children.DASHBOARD)
            self._forget_dashboard()

    def _forget_dashboard(self) -> None:
        if self._processes.record is not None:
            self._processes.record.dashboard = None
            self._processes.write_record()

    # --- serve -----------------------------------------------------------------------------------------
    async def _serve(self) -> None:
        assert self._redis is not None
        await self._milestones.serve(self._redis, self._logs / "worker.log")

    async def _sample(self) -> None:
        read_at = time.monotonic()
        while True:
            await asyncio.to_thread(self._peak.sample)
            for log in self._logs.glob("*.log"):
                cap_log(log)
            if time.monotonic() - read_at >= _JOURNAL_SECONDS or self._milestones.first_tick is None:
                await self._save_open_orders()
                read_at = time.monotonic()
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _save_open_orders(self) -> None:
        """Write the open orders and the status to files, for a stop and for `status` without Redis."""
        if self._redis is None:
            return
        redis = connect(self._redis_url, impatient=True)
        try:
            write_result(open_orders_file(self._folder), await read_orders(self._settings, redis))
            await self._options.note_status(self._settings, redis, self._folder)
        except (RedisError, OSError):  # the file keeps what it holds, with the moment it was read
            return
        finally:
            await redis.aclose()

    # --- stop ------------------------------------------------------------------------------------------
    async def _stop(self) -> dict[str, Any]:
        """End everything, in order unless a second signal cuts that short; the summary."""
        end = StackShutdown(self._settings, self._folder, self._processes, self._say, self._may_have_traded())
        without_redis = children.VALKEY in self._failed
        try:
            work = end.in_order(self._redis, self._summarise, self._started, without_redis)
            await self._run_until(self._end_asked, work)
        finally:
            await self._clean_up()
            end.write(self._started.isoformat())
            record_path(self._folder).unlink(missing_ok=True)
            keep_orders_file(self._folder).unlink(missing_ok=True)
        return end.summary | {
            "equity_start": self._equity_before or end.summary.get("equity_start"),
            "ended": "a process failed" if self._failed else self._milestones.ended_because,
            "stopped_in_order": end.result.stopped,
            "failed": list(self._failed.values()),
            "first_tick_seconds": self._milestones.first_tick,
            "peak_memory_mib": round(self._peak.mib, 1),
            "orders_open": end.result.orders_open,
            "reserved": end.result.reserved,
            "orders_kept": end.result.kept,
        }

    async def _summarise(self, settings: Settings, redis: RedisClient) -> dict[str, Any]:
        await self._options.note_status(settings, redis, self._folder)
        return await self._options.summarise(settings, redis)

    async def _clean_up(self) -> None:
        """Leave no process, lock or connection behind, however the stop went."""
        await self._processes.clear(at_once=self._end_asked.is_set())
        if self._redis is not None:
            await self._redis.aclose()
        self._claims.close()
        if self._preparing is not None:
            await asyncio.wait({self._preparing})
            if self._preparing.exception() is None:
                self._preparing.result().tidy()

    def _may_have_traded(self) -> bool:
        """Whether the worker has begun to take runs."""
        took_runs = self._milestones.first_tick is not None or children.worker_ready_file(self._folder).exists()
        return children.WORKER in self._processes and took_runs


def _without_password(url: str) -> str:
    """A Redis URL without user and password, to be shown and stored."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
