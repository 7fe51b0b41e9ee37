"""The trading service of a process: one event loop in its own thread, one Redis pool, one exchange client.

Each flow run of a worker has its own thread. The ticks of all runs share this loop. A process of Prefect's stock
`process` worker runs one flow run and has a service for it alone.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from flows.runtime import account_work
from flows.runtime.announcing import announce, crash_facts, stop_facts
from flows.runtime.archiving import Archiving
from flows.runtime.background import each_minute, flush_logs, watch_for_dark
from flows.runtime.beating import Beating
from flows.runtime.stops import Stops
from tasks.base.cancelling import cancel_and_wait
from tasks.base.clock import utc_now
from tasks.base.errors import GridflowError, StackError
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.log_context import log_fields
from tasks.base.log_setup import close_files
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.logs import start_logging
from tasks.settings.model import Settings
from tasks.tick import watchdog, window
from tasks.tick.active_symbols import active_symbols
from tasks.tick.clock_check import check_clock
from tasks.tick.coverage import Coverage, read_coverage
from tasks.tick.dark_watch import DarkWatch
from tasks.tick.desk import Desk
from tasks.tick.desk_opening import close_desk, open_desk
from tasks.tick.listing import market_of_symbol
from tasks.tick.models import WindowReport
from tasks.tick.stopping import StopReport
from tasks.tick.trader import GridTrader
from tasks.tick.window_results import read_book, with_results

log = logging.getLogger(__name__)
T = TypeVar("T")
_REPORT_SECONDS = 3 * 86_400
_NO_RUN: Mapping[str, str] = {}


def _new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop, which uses less CPU. On Windows, which has no uvloop, asyncio's own."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class TradingService:
    """Owns the trading loop. Its public methods may be called from any thread and return when the work is done."""

    def __init__(self, settings: Settings, *, archives: bool = True) -> None:
        """`archives`: move records from Redis to the history database while the process runs."""
        if settings.redis_url is None:
            raise StackError("no Redis is configured. Start with `gridflow up`, or set GRIDFLOW_REDIS_URL")
        self._own_settings = settings
        self.keys = Keys(settings.account)
        self._redis_url = settings.redis_url.get_secret_value()
        self._logs = start_logging(settings, "worker")
        self._stopping = threading.Event()
        self._desk: Desk | None = None
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trading-loop", daemon=True)
        self._thread.start()
        self._opening = asyncio.Lock()
        self._archiving, self._archives = Archiving(settings, self._redis_url), archives
        self._alerting: Any = None  # where a channel is set
        self._stops = Stops(self._trader, self._archiving, self._tell)
        self._watchdog = watchdog.Watchdog(self._loop, self._thread)
        self.beating = Beating(self._redis_url, self.keys)
        logs = flush_logs(self._logs, self._redis_url, self.keys)
        self._dark_watch = DarkWatch(self.beating.worker)
        always = (logs, each_minute(self._check), watch_for_dark(self._look_for_dark), self.beating.run())
        self._background = [self._submit(work) for work in always]

    @property
    def settings(self) -> Settings:
        """The settings in force. Before the desk is open, the settings of this process."""
        return self._own_settings if self._desk is None else self._desk.settings

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the trading loop and wait for it."""
        return self._submit(work).result()

    def ask(self, work: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
        """Run work that needs the desk on the trading loop and wait for it. See `flows.runtime.account_work`."""

        async def asked() -> T:
            return await work(await self.desk())

        return self.run(asked())

    def connect(self) -> RedisClient:
        """A Redis client for another event loop than the trading loop."""
        return connect(self._redis_url)

    async def desk(self) -> Desk:
        """The Redis client, exchange client and fund allocator of this process. The first call opens them."""
        async with self._opening:
            if self._desk is None:
                if self._archives:
                    await self._archiving.check()
                hooks = self._archiving.recover, self._archiving.restore_settings
                self._desk = await open_desk(self._own_settings, self._redis_url, *hooks)
                if self._archives:
                    self._archiving.start()
                    await asyncio.to_thread(self._start_alerts)
                if watchdog.is_enabled():  # imports and market lists keep the loop busy until now
                    self._watchdog.start()
        return self._desk

    def _start_alerts(self) -> None:
        if self._alerting is None and self._own_settings.alerts.channels:
            from flows.runtime.alerting import Alerting  # costs time and memory that only alerts need

            self._alerting = Alerting(self._own_settings, self._redis_url)
            self._alerting.start()

    async def _trader(self, symbol: str) -> GridTrader:
        """A trader for a symbol that is configured, or that left the settings and still holds something.

        Raises GridflowError for any other symbol, and where the exchange no longer lists it.
        """
        desk = await self.desk()
        await check_clock(desk.redis)
        if symbol not in await active_symbols(desk):
            raise GridflowError(f"{symbol} is not configured; configured are {', '.join(desk.settings.symbols)}")
        if symbol not in desk.markets.known:
            desk.markets.add(await market_of_symbol(desk, symbol))
        return GridTrader(desk, desk.markets.known[symbol], owner=uuid4().hex)

    # --- what flows call -------------------------------------------------------------------------------
    def run_window(
        self, symbol: str, scheduled: datetime | None, cancelled: Callable[[], bool], run: Mapping[str, str] = _NO_RUN
    ) -> WindowReport:
        """Tick `symbol` for one window: `trading.window_seconds` from the scheduled start, or from now without one.

        The window ends early once `cancelled()` is true or `request_stop` was called. `run`: fields of the flow run
        for each log line of the window.
        """
        start = (scheduled or utc_now()).timestamp()
        window = self._window(symbol, start, lambda: "cancelled" if cancelled() else None, run=run)
        return self._submit(window).result()

    def own_window(self, symbol: str, since_ms: int, end_reason: Callable[[], str | None]) -> Future[WindowReport]:
        """Begin a window that Prefect did not hand out. It ends at once where another worker holds the lease.

        `since_ms`: since when the worker runs the symbol by itself. `end_reason`: why it must end early, if it must.
        """
        return self._submit(self._window(symbol, utc_now().timestamp(), end_reason, since_ms))

    async def _window(
        self,
        symbol: str,
        start: float,
        end_reason: Callable[[], str | None],
        own_since_ms: int | None = None,
        run: Mapping[str, str] = _NO_RUN,
    ) -> WindowReport:
        """`own_since_ms`: see `own_window`; None for a window of a Prefect run, which waits for the lease."""
        with log_fields(symbol=symbol, **run):
            held = self.beating.begin_window(symbol, own_since_ms, run.get("flow_run", ""))
            on_tick, on_end = self._watchdog.window(symbol)
            try:
                trader = await self._trader(symbol)
                if self._stopping.is_set():  # the worker fetched this run before the stop
                    return WindowReport(symbol=symbol, ticks=0, fills=0, placed=0, failed_ticks=0, ended="stopping")
                redis = trader.desk.redis
                before = await read_book(redis, self.keys, symbol)
                report = await window.run_window(
                    trader,
                    start + self.settings.trading.window_seconds,
                    utc_now,
                    lambda: "stopping" if self._stopping.is_set() else end_reason(),
                    on_tick=on_tick,
                    waits_for_lease=own_since_ms is None,
                )
                return with_results(report, before, await read_book(redis, self.keys, symbol))
            finally:
                on_end()
                self.beating.end_window(held)

    async def _look(self) -> Coverage:
        return await read_coverage(await self.desk(), self.beating.heartbeat)

    def look(self) -> Future[Coverage]:
        """Which symbols need windows, and who runs them now. Raises GridflowError where this process cannot trade."""
        return self._submit(self._look())

    def leave(self) -> Future[None]:
        """Tell the other workers that this one is gone."""
        return self._submit(self.beating.end())

    def recover(self) -> dict[str, bool]:
        """Rebuild every configured symbol that has no records in Redis. Returns symbol → whether it was rebuilt."""
        return self.run(self._recover())

    async def _recover(self) -> dict[str, bool]:
        redis = connect(self._redis_url)
        try:
            before = {symbol: await redis.exists(self.keys.cells(symbol)) for symbol in self.settings.symbols}
            await self.desk()  # where Redis was lost, opening the desk recovers every symbol
            after = {symbol: await redis.exists(self.keys.cells(symbol)) for symbol in self.settings.symbols}
        finally:
            await redis.aclose()
        return {symbol: bool(after[symbol] and not before[symbol]) for symbol in self.settings.symbols}

    async def prune_history(self) -> dict[str, int]:
        """Delete what the history keeps no longer, by the settings of this process; how many rows of each table.

        Raises GridflowError where the history does not answer.
        """
        return await self._archiving.prune()

    def request_stop(self) -> None:
        """End the running windows of this process within a second, after the tick that is running."""
        self._stopping.set()

    def open(self) -> None:
        """Open Redis and the exchange now, not at the first tick. Does not lift a stop.

        Raises ConfigError for grids that cannot start.
        """
        self.run(self.desk())

    def graceful_stop(self) -> StopReport:
        """Cancel every open order of the pot and book the last fills. Returns the orders that are left.

        All workers of the account place no orders while this call runs. An operator's stop is `stop_trading`.
        """
        self.request_stop()
        return self._end_by(self._stops.cancel_orders)

    def end_with_orders(self) -> StopReport:
        """End this process's windows and leave open orders as they are. Returns them."""
        self.request_stop()
        return self._end_by(self._stops.keep_orders)

    def _end_by(self, stop: Callable[[Desk], Coroutine[Any, Any, StopReport]]) -> StopReport:
        async def end(desk: Desk) -> StopReport:
            if self._alerting is not None:
                self._alerting.note_end()
            return await stop(desk)

        return self.ask(end)

    def stop_trading(self) -> StopReport:
        """An operator's stop: like `graceful_stop`, but no order is placed until `resume_trading`.

        The process goes on. Its windows tick and place nothing.
        """
        return self.ask(self._stops.until_resumed)

    def resume_trading(self) -> None:
        """Lift the stop and every pause."""
        self.ask(self._stops.resume)

    async def _tell(self, kind: EventKind, facts: Mapping[str, Any]) -> None:
        await announce(self._redis_url, self.keys, kind, facts)

    def tell_crash(self, kind: EventKind, error: BaseException, **facts: str) -> None:
        """Log an error with its traceback, and publish it as an event. May be called from any thread."""
        named = crash_facts(self.settings, error, **facts)
        log.error("a flow or a process failed", extra={"crash": named}, exc_info=error)  # `process` is a field of logs
        if self._loop.is_running():
            self.run(self._tell(kind, named))

    def beat(self, file: Path) -> None:
        """Touch `file` each second from the trading loop. Another process can see from it that the loop runs."""
        self._background.append(self._submit(watchdog.beat(file)))

    async def _check(self) -> None:
        if self._desk is not None:
            await account_work.check_each_minute(self._desk)

    async def _look_for_dark(self) -> None:
        if self._desk is not None:
            await self._dark_watch.look(self._desk)

    def close(self) -> None:
        """Close the exchange and Redis, and end the loop."""
        self._watchdog.stop()
        self.run(self._close())
        if self._alerting is not None:
            self._alerting.close()
        self._archiving.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        close_files()

    async def _close(self) -> None:
        current = asyncio.current_task()
        await cancel_and_wait([task for task in asyncio.all_tasks() if task is not current])
        await self.beating.end()
        if self._desk is not None:
            try:
                await self._logs.flush_to(self._desk.redis, self.keys)
            except RedisError as error:
                log.warning("the last log lines were not written to Redis", extra={"error": str(error)})
            newest = self._stops.newest
            await close_desk(self._desk)
            self._desk = None
            if newest is not None:  # last of all, as the stop may have been repeated
                await self._tell(EventKind.SYSTEM_STOPPED, stop_facts(self.keys.account, newest, ends=True))
