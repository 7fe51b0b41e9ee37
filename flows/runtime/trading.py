"""The trading side of a process: one event loop in a thread of its own, one Redis pool, one exchange client.

The flow runs of a worker each have their own thread; all their ticks run on this loop. A stock Prefect process makes
its own service for its one run.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from tasks.base import log_setup
from tasks.base.clock import utc_now
from tasks.base.errors import ExchangeError, ExchangeUnavailable, GridflowError, StackError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient, connect
from tasks.control.steps import resume_everything, stop
from tasks.exchange.models import Market
from tasks.exchange.port import ExchangePort
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import RebalanceReport
from tasks.ledger.audit import AuditReport
from tasks.ledger.steps import watch_drift
from tasks.settings.in_force import in_force, publish
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.secret_values import secret_texts
from tasks.tick import watchdog, window
from tasks.tick.active_symbols import active_symbols, retiring_symbols
from tasks.tick.clock_check import check_clock
from tasks.tick.desk import Desk
from tasks.tick.grid_checks import refuse_impossible_grids
from tasks.tick.models import WindowReport
from tasks.tick.monitor import guard_balance, rebalance, run_monitor
from tasks.tick.recover import open_books
from tasks.tick.stopping import StopReport, held, patiently, read_stop_report
from tasks.tick.trader import GridTrader, LeaseHeld, SymbolLeft
from tasks.tick.trading_mode import claim_books

log = logging.getLogger(__name__)
T = TypeVar("T")
_STOP_SECONDS = 60.0
_STOP_PAUSE_SECONDS = 0.5
_MONITOR_SECONDS = 60


def _new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop, which costs less CPU; asyncio's own on Windows, where there is none."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class TradingService:
    """Owns the trading loop. Its public methods are called from any thread and wait for the answer."""

    def __init__(self, settings: Settings) -> None:
        if settings.redis_url is None:
            raise StackError("no Redis is configured; run under `gridflow up` or set GRIDFLOW_REDIS_URL")
        self._own_settings = settings
        self.keys = Keys(settings.account)
        self._redis_url = settings.redis_url.get_secret_value()
        self._logs = log_setup.setup(secret_texts(settings), "worker", terminal=True)
        self._stopping = threading.Event()
        self._desk: Desk | None = None
        self._markets: dict[str, Market] = {}
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trading-loop", daemon=True)
        self._thread.start()
        self._opening = asyncio.Lock()
        self._watchdog = watchdog.Watchdog(self._loop, self._thread)
        self._chores = [self._submit(self._flush_logs()), self._submit(self._monitor())]

    @property
    def settings(self) -> Settings:
        """The settings in force; this process's own until the desk is open."""
        return self._own_settings if self._desk is None else self._desk.settings

    def _submit(self, work: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the trading loop and wait for it."""
        result: T = self._submit(work).result()
        return result

    async def desk(self) -> Desk:
        """Redis, exchange and pot; opened once, on first use. The pot is shared out before anybody trades."""
        async with self._opening:
            if self._desk is None:
                self._desk = await self._open()
                if watchdog.is_enabled():  # imports and market lists keep the loop busy until now
                    self._watchdog.start()
        return self._desk

    async def _open(self) -> Desk:
        from tasks.tick.exchange_factory import open_exchange

        redis = connect(self._redis_url)
        exchange: ExchangePort | None = None
        try:
            await check_clock(redis)
            await claim_books(redis, self.keys, self._own_settings)
            settings = await self._settings_in_force(redis)
            exchange = await open_exchange(settings, redis)
            self._markets = dict(await exchange.markets(list(settings.symbols)))
            allocator = GlobalFundAllocator.from_settings(settings, redis)
            desk = Desk(settings, redis, exchange, allocator, self.keys, utc_now)
            await open_books(desk, self._markets, owner=uuid4().hex)
            await refuse_impossible_grids(desk, self._markets)
        except BaseException:
            if exchange is not None:
                await exchange.close()
            await redis.aclose()
            raise
        return desk

    async def _settings_in_force(self, redis: RedisClient) -> Settings:
        """This process trades by those; where its own file differs, the fields are named."""
        await publish(redis, self._own_settings, only_first=True)
        found = await in_force(redis, self._own_settings)
        if found.differing:
            facts = {"version": found.version, "fields": ", ".join(found.differing)}
            log.warning("this worker's settings differ from those in force and do not count", extra=facts)
        return found.settings

    async def _trader(self, symbol: str) -> GridTrader:
        """A trader of a symbol that is configured, or that left the settings and still holds something.

        Raises GridflowError for any other, and for one that the exchange no longer lists.
        """
        desk = await self.desk()
        await check_clock(desk.redis)
        active = await active_symbols(desk)
        if symbol not in active:
            raise GridflowError(f"{symbol} is not configured; configured are {', '.join(desk.settings.symbols)}")
        if symbol not in self._markets:
            self._markets |= await self._market(desk, symbol)
        return GridTrader(desk, self._markets[symbol], owner=uuid4().hex)

    async def _market(self, desk: Desk, symbol: str) -> Mapping[str, Market]:
        """The market of a symbol that this process has not traded yet. Raises GridflowError where there is none."""
        if not desk.exchange.apart_from_redis:
            await self._reopen_paper(desk)
        try:
            return await desk.exchange.markets([symbol])
        except ExchangeUnavailable:
            raise
        except ExchangeError as error:
            remedy = f"If it was delisted, book out what it holds with: gridflow funds write-off {symbol}"
            raise GridflowError(f"{error}. {remedy}") from error

    async def _reopen_paper(self, desk: Desk) -> None:
        """A paper exchange knows the symbols that it was opened with; this one knows today's."""
        from tasks.tick.exchange_factory import open_exchange

        before, desk.exchange = desk.exchange, await open_exchange(desk.settings, desk.redis)
        await before.close()

    # --- what flows call -------------------------------------------------------------------------------
    def run_window(self, symbol: str, scheduled: datetime | None, cancelled: Callable[[], bool]) -> WindowReport:
        """One window of `symbol`, from its scheduled start (now without one) over `trading.window_seconds`."""
        report: WindowReport = self._submit(self._window(symbol, scheduled, cancelled)).result()
        return report

    async def _window(self, symbol: str, scheduled: datetime | None, cancelled: Callable[[], bool]) -> WindowReport:
        trader = await self._trader(symbol)
        start = (scheduled or utc_now()).timestamp()

        def why_end() -> str | None:
            if self._stopping.is_set():
                return "stopping"
            return "cancelled" if cancelled() else None

        if self._stopping.is_set():  # a run that was fetched before the stop and begins only now
            return WindowReport(symbol=symbol, ticks=0, fills=0, placed=0, failed_ticks=0, ended="stopping")
        ticked, ended = self._watchdog.window(symbol)
        try:
            until = start + self.settings.trading.window_seconds
            return await window.run_window(trader, until, utc_now, why_end, ticked=ticked)
        finally:
            ended()

    def rebalance(self, force: bool, reason: str) -> RebalanceReport:
        """Share the pot anew."""
        return self.run(self._rebalance(force, reason))

    async def _rebalance(self, force: bool, reason: str) -> RebalanceReport:
        return await rebalance(await self.desk(), force=force, reason=reason)

    def recover(self) -> dict[str, bool]:
        """Rebuild every configured symbol that Redis knows nothing of; symbol → whether it was rebuilt."""
        return self.run(self._recover())

    async def _recover(self) -> dict[str, bool]:
        redis = connect(self._redis_url)
        try:
            before = {symbol: await redis.exists(self.keys.cells(symbol)) for symbol in self.settings.symbols}
            await self.desk()  # opening the books of a pot that nobody has shared yet recovers every symbol
            after = {symbol: await redis.exists(self.keys.cells(symbol)) for symbol in self.settings.symbols}
        finally:
            await redis.aclose()
        return {symbol: bool(after[symbol] and not before[symbol]) for symbol in self.settings.symbols}

    async def watch_drift(self) -> AuditReport:
        """Guard the real balance, then audit the pot; drift becomes an event."""
        desk = await self.desk()
        await guard_balance(desk)
        return await watch_drift(desk.redis, self.keys, list(self.settings.symbols))

    def retiring(self) -> list[str]:
        """Symbols that left the settings and still hold something."""
        return self.run(self._retiring())

    async def _retiring(self) -> list[str]:
        desk = await self.desk()
        return await retiring_symbols(desk.redis, desk.keys, desk.settings)

    def request_stop(self) -> None:
        """Let running windows end at their next look."""
        self._stopping.set()

    def open(self) -> None:
        """Open Redis and the exchange, and refuse grids that cannot start. Lifts no stop."""
        self.run(self.desk())

    def graceful_stop(self) -> StopReport:
        """Stop the whole pot for as long as this process ends: cancel what rests, book what filled; what is left.

        Other workers of the account see the stop too. It ends with this call; an operator's stop is another one.
        """
        self.request_stop()
        return self.run(self._stop_held())

    async def _stop_held(self) -> StopReport:
        desk = await self.desk()
        async with held(desk.redis, self.keys):
            return await self._wind_all_down(desk)

    def stop_trading(self) -> StopReport:
        """An operator's stop: the same, until `resume_trading`; the process goes on and its windows place nothing."""
        return self.run(self._stop_for_good())

    async def _stop_for_good(self) -> StopReport:
        desk = await self.desk()
        await stop(desk.redis, self.settings)
        return await self._wind_all_down(desk)

    def resume_trading(self) -> None:
        """Lift the stop and every pause."""
        self.run(self._resume())

    async def _resume(self) -> None:
        desk = await self.desk()
        await resume_everything(desk.redis, desk.settings)

    async def _wind_all_down(self, desk: Desk) -> StopReport:
        symbols = await patiently(lambda: active_symbols(desk))
        await asyncio.gather(*(self._wind_down(desk, symbol) for symbol in symbols))
        report = await patiently(lambda: read_stop_report(desk.redis, self.keys, symbols))
        facts = {"open_orders": len(report.orders_open), "reserved": plain(report.reserved)}
        log.log(logging.INFO if report.is_clean else logging.ERROR, "stopped", extra=facts)
        return report

    async def _wind_down(self, desk: Desk, symbol: str) -> None:
        """Tick a stopped symbol until its journal is empty: cancel, then book what became of the orders.

        One symbol's fault keeps neither the others nor itself from trying again.
        """
        trader: GridTrader | None = None
        deadline = self._loop.time() + _STOP_SECONDS
        told = ""
        while True:
            try:
                trader = trader or await self._trader(symbol)
                await check_clock(desk.redis)
                with suppress(LeaseHeld, SymbolLeft):  # a window ticks it; it sees the stop and does the same
                    await trader.tick()
            except Exception as error:
                if str(error) != told:
                    told = str(error)
                    log.exception("stop: tick failed; trying again", extra={"symbol": symbol})
            if await self._journal_is_empty(desk, symbol) or self._loop.time() > deadline:
                break
            await asyncio.sleep(_STOP_PAUSE_SECONDS)
        if trader is not None:
            await window.give_up_lease(trader)

    async def _journal_is_empty(self, desk: Desk, symbol: str) -> bool:
        """Whether no order of the symbol is left; False while Redis does not say."""
        try:
            return int(await desk.redis.hlen(self.keys.intents(symbol))) == 0
        except RedisError:
            return False

    def beat(self, file: Path) -> None:
        """Touch `file` each second from the trading loop, so that another process sees that it runs."""
        self._chores.append(self._submit(watchdog.beat(file)))

    # --- housekeeping ----------------------------------------------------------------------------------
    async def _monitor(self) -> None:
        """Once a minute: is the exchange's money enough, and has usage drifted apart? No Prefect run for a look."""
        while True:
            await asyncio.sleep(_MONITOR_SECONDS)
            if self._desk is None:
                continue
            try:
                await run_monitor(self._desk)
            except Exception:  # the guard must look again in a minute, whatever it tripped over
                log.exception("monitor: not this time")

    async def _flush_logs(self) -> None:
        redis = connect(self._redis_url)
        try:
            while True:
                try:
                    await self._logs.flush_to(redis, self.keys.log)
                except RedisError:
                    await asyncio.sleep(5)  # kept in the queue; the terminal has them too
                await asyncio.sleep(1)
        finally:
            await redis.aclose()

    def close(self) -> None:
        """Close exchange and Redis, end the loop."""
        self._watchdog.stop()
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        others = waiting = asyncio.all_tasks() - {asyncio.current_task()}
        while waiting:  # Python 3.11's `wait_for`, which Redis calls go through, may lose a cancellation
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=1)
        await asyncio.gather(*others, return_exceptions=True)
        if self._desk is not None:
            try:
                await self._logs.flush_to(self._desk.redis, self.keys.log)
            except RedisError as error:
                log.warning("the last log lines did not reach Redis", extra={"error": str(error)})
            await self._desk.exchange.close()
            await self._desk.redis.aclose()
            self._desk = None


@cache
def service() -> TradingService:
    """The process's trading side, opened on first use from the settings."""
    return TradingService(load())


def request_stop() -> None:
    """Let running windows end early; without a trading side there are none."""
    if service.cache_info().currsize:
        service().request_stop()
