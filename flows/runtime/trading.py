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
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from flows.runtime.archiving import Archiving
from flows.runtime.background import each_minute, flush_logs, watch_for_dark
from flows.runtime.beating import Beating
from tasks.base.cancelling import cancel_and_wait
from tasks.base.clock import to_ms, utc_now
from tasks.base.errors import GridflowError, StackError
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.log_context import log_fields
from tasks.base.log_setup import close_files
from tasks.base.money import plain
from tasks.base.redaction import Redactor
from tasks.base.redis_client import RedisClient, connect
from tasks.control.actions import Actor, record
from tasks.control.daily_loss import watch_daily_loss
from tasks.control.steps import resume_everything, stop
from tasks.funds.models import RebalanceReport
from tasks.funds.rebalancing import MANUAL
from tasks.ledger.audit import AuditReport
from tasks.ledger.periods import Bucket, Period, bucket_of
from tasks.ledger.steps import watch_drift
from tasks.settings.load import load
from tasks.settings.logs import start_logging
from tasks.settings.model import Settings
from tasks.settings.secret_values import hidden_texts, secret_texts
from tasks.tick import watchdog, window
from tasks.tick.active_symbols import active_symbols, retiring_symbols
from tasks.tick.clock_check import check_clock
from tasks.tick.coverage import Coverage, read_coverage
from tasks.tick.dark_watch import DarkWatch
from tasks.tick.desk import Desk
from tasks.tick.desk_opening import close_desk, open_desk
from tasks.tick.listing import market_of_symbol
from tasks.tick.models import WindowReport
from tasks.tick.monitor import guard_balance, rebalance, run_monitor
from tasks.tick.order_cancelling import cancel_all_orders
from tasks.tick.stopping import StopReport, held, read_stop_report
from tasks.tick.trader import GridTrader
from tasks.tick.window_results import read_book, with_results
from tasks.views.models import StatusView
from tasks.views.steps import read_status, record_equity

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
        self._stopped: StopReport | None = None  # the newest `graceful_stop`
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

    def rebalance(self, force: bool, reason: str) -> RebalanceReport:
        """Share the pot again by the settings in force. `force`: without waiting for a trigger."""
        return self.run(self._rebalance(force, reason))

    async def _rebalance(self, force: bool, reason: str) -> RebalanceReport:
        desk = await self.desk()
        report = await rebalance(desk, force=force, reason=reason)
        if reason == MANUAL:
            await record(desk.redis, self.keys, Actor.PREFECT, "rebalance", (), report.outcome)
        return report

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

    async def status(self) -> StatusView:
        """The account's status."""
        desk = await self.desk()
        return await read_status(desk.settings, desk.redis)

    async def record_equity(self) -> None:
        """Store this minute's point of the equity curve, where no worker of the account has done it.

        The same reading is held against the daily loss limit.
        """
        desk = await self.desk()
        view = await record_equity(desk.settings, desk.redis)
        if view is not None:
            await watch_daily_loss(desk.redis, desk.settings, view.equity_change)

    async def watch_drift(self) -> AuditReport:
        """Check the exchange's balance, then audit the pot, with the exchange's open orders and balances.

        Differences are published as an event.
        """
        desk = await self.desk()
        await guard_balance(desk)
        return await watch_drift(desk.redis, self.keys, list(self.settings.symbols), desk.exchange)

    async def report_due(self) -> Bucket | None:
        """Yesterday (UTC), once: the first caller of the account's workers gets it, the others None."""
        desk = await self.desk()
        day = bucket_of(bucket_of(to_ms(utc_now()), Period.DAY, UTC).start_ms - 1, Period.DAY, UTC)
        is_mine = await desk.redis.set(self.keys.daily_report(f"{day.day}"), "1", nx=True, ex=_REPORT_SECONDS)
        return day if is_mine else None

    async def report_failed(self, day: Bucket) -> None:
        """Let the next caller of `report_due` try that day again."""
        desk = await self.desk()
        await desk.redis.delete(self.keys.daily_report(f"{day.day}"))

    async def prune_history(self) -> dict[str, int]:
        """Delete what the history keeps no longer, by the settings of this process; how many rows of each table.

        Raises GridflowError where the history does not answer.
        """
        return await self._archiving.prune()

    def retiring(self) -> list[str]:
        """Symbols that left the settings and still hold something."""
        return self.run(self._retiring())

    async def _retiring(self) -> list[str]:
        desk = await self.desk()
        return await retiring_symbols(desk.redis, desk.keys, desk.settings)

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
        return self.run(self._stop_with_hold())

    def end_with_orders(self) -> StopReport:
        """End this process's windows and leave open orders as they are. Returns them."""
        self.request_stop()
        return self.run(self._end_with_orders())

    async def _end_with_orders(self) -> StopReport:
        desk = await self.desk()
        if self._alerting is not None:
            self._alerting.note_end()
        report = await read_stop_report(desk.redis, self.keys, self.settings.symbols)
        await self._tell(EventKind.SYSTEM_STOPPED, self._stop_facts(report, ends=True) | {"kept": True})
        return report

    async def _stop_with_hold(self) -> StopReport:
        desk = await self.desk()
        if self._alerting is not None:
            self._alerting.note_end()
        async with held(desk.redis, self.keys):
            self._stopped = await cancel_all_orders(desk, self._trader)
        return self._stopped

    def stop_trading(self) -> StopReport:
        """An operator's stop: like `graceful_stop`, but no order is placed until `resume_trading`.

        The process goes on. Its windows tick and place nothing.
        """
        return self.run(self._stop_until_resumed())

    async def _stop_until_resumed(self) -> StopReport:
        desk = await self.desk()
        await stop(desk.redis, self.settings, by=Actor.PREFECT)
        await self._make_durable()
        report = await cancel_all_orders(desk, self._trader)
        await self._tell(EventKind.SYSTEM_STOPPED, self._stop_facts(report, ends=False))
        return report

    def _stop_facts(self, report: StopReport, *, ends: bool) -> dict[str, Any]:
        """`ends`: the process ends too."""
        facts = {"account": self.settings.account, "left": str(report), "orders_open": len(report.orders_open)}
        return facts | {"reserved": plain(report.reserved), "ends": ends}

    async def _tell(self, kind: EventKind, facts: Mapping[str, Any]) -> None:
        """Publish an event. Without Redis only the log has it."""
        redis = connect(self._redis_url, impatient=True)
        try:
            await publish_event(redis, self.keys, kind, dict(facts))
        except (RedisError, OSError) as error:
            log.warning("an event was not stored", extra={"kind": kind.value, "error": str(error)})
        finally:
            await redis.aclose()

    def tell_crash(self, kind: EventKind, error: BaseException, **facts: str) -> None:
        """Log an error with its traceback, and publish it as an event. May be called from any thread."""
        said = Redactor(hidden_texts(secret_texts(self.settings))).text(str(error))
        named = {"error_type": type(error).__name__, "error": said, "at": utc_now().isoformat(), **facts}
        log.error("a flow or a process failed", extra={"crash": named}, exc_info=error)  # `process` is a field of logs
        if self._loop.is_running():
            self.run(self._tell(kind, named))

    def resume_trading(self) -> None:
        """Lift the stop and every pause."""
        self.run(self._resume())

    async def _resume(self) -> None:
        desk = await self.desk()
        await resume_everything(desk.redis, desk.settings, by=Actor.PREFECT)
        await self._make_durable()

    async def _make_durable(self) -> None:
        """Write flags and actions to the database before the flow ends. Without it they are in force all the same."""
        if not await self._archiving.write_now():
            log.warning("in force, not yet durable: the history does not hold it yet")

    def beat(self, file: Path) -> None:
        """Touch `file` each second from the trading loop. Another process can see from it that the loop runs."""
        self._background.append(self._submit(watchdog.beat(file)))

    async def _check(self) -> None:
        """The check of each minute: the exchange's balance, the triggers of a rebalance, and a point of the equity."""
        if self._desk is not None:
            await run_monitor(self._desk)
            await self.record_equity()

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
            facts = None if self._stopped is None else self._stop_facts(self._stopped, ends=True)
            await close_desk(self._desk)
            self._desk = None
            if facts is not None:  # last of all, as the stop may have been repeated
                await self._tell(EventKind.SYSTEM_STOPPED, facts)


@cache
def service() -> TradingService:
    """The trading service of this process. The first call creates it from the settings."""
    return TradingService(load())


def request_stop() -> None:
    """End the running windows of this process early, if it has a trading service."""
    if service.cache_info().currsize:
        service().request_stop()


def tell_crash(kind: EventKind, error: BaseException, **facts: str) -> None:
    """Publish a crash, if this process has a trading service."""
    if service.cache_info().currsize:
        service().tell_crash(kind, error, **facts)


def close_service() -> None:
    """Close the trading service of this process, if it has one. Its process ends."""
    if service.cache_info().currsize:
        service().close()
