"""Workers of one account in virtual time, with the program's own guards, windows, leases and heartbeats.

Prefect is a model: it hands windows out on time while it is there. Traders are real, or only take a lease.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from flows.runtime.beating import Beating
from flows.runtime.worker.guard import WindowGuard
from flows.runtime.worker.own_windows import keeps_house
from flows.runtime.worker.prefect_watch import AWAY_SECONDS, LOOK_SECONDS, PrefectWatch
from flows.runtime.worker.trading_side import WorkerFacts
from tasks.base.keys import Keys
from tasks.exchange.limits.breaker_store import Breakers
from tasks.settings.model import Settings
from tasks.tick import store
from tasks.tick.coverage import Coverage, read_coverage
from tasks.tick.models import TickReport, WindowReport
from tasks.tick.prefect_record import PrefectRecord, write_record
from tasks.tick.trader import GridTrader, LeaseHeld
from tasks.tick.watchdog import StallLimits
from tasks.tick.window import run_window
from tests.support.virtual.loop import virtual_clock
from tests.support.virtual.redis import VirtualRedis

KEYS = Keys("main")
SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
INTERVAL = Decimal(2)
WINDOW = 30.0
HOUSE_SECONDS = 15.0


@dataclass
class Ticks:
    """Every tick: when (s), of which worker, under which fence."""

    made: dict[str, list[tuple[float, str, int]]] = field(default_factory=lambda: {name: [] for name in SYMBOLS})

    def longest_gap(self, symbol: str, begin: float, end: float) -> float:
        """The longest time without a tick from the last one before `begin` to `end`."""
        times = [at for at, _, _ in self.made[symbol]]
        before = max((at for at in times if at <= begin), default=begin)
        inside = [before, *(at for at in times if begin < at <= end), end]
        return max(later - sooner for sooner, later in itertools.pairwise(inside))


class _Trader:
    """Takes the lease at each tick, as a trader does, and nothing else."""

    def __init__(self, worker: "VirtualWorker", symbol: str) -> None:
        self.worker, self.symbol, self.owner, self.desk = worker, symbol, uuid4().hex, worker.desk

    async def tick(self, _check: Any) -> TickReport:
        await self.worker.gate()
        lease = {"lease_ms": self.desk.lease_ms, "known_fence": 0}
        state, wait_ms = await store.begin(self.desk.redis, keys=KEYS, symbol=self.symbol, owner=self.owner, **lease)
        if state is None:
            raise LeaseHeld(self.symbol, wait_ms)
        now = virtual_clock().passed
        self.worker.ticks.made[self.symbol].append((now, self.worker.name, state.fence))
        numbers = {"duration_ms": 1, "fence": state.fence, "fills": 0, "placed": 0, "cancelled": 0}
        at_ms = virtual_clock().ms()
        return TickReport(symbol=self.symbol, at_ms=at_ms, price=Decimal(1), next_in=INTERVAL, **numbers)

    async def end_lease(self) -> None:
        if not self.worker.dead:
            await store.end_lease(self.desk.redis, keys=KEYS, symbol=self.symbol, owner=self.owner)


def idle_desk(world: VirtualRedis, name: str) -> Any:
    """The part of a desk that traders need which only take leases."""
    own = Settings.model_validate({"symbols": {symbol: {"range_pct": "0.04", "cells": 6} for symbol in SYMBOLS}})
    redis = world.client(random.Random(name))
    return SimpleNamespace(redis=redis, keys=KEYS, lease_ms=10_000, settings=own, settings_version=0)


class VirtualWorker:
    """One worker process. It can be killed, frozen, drained, or have its trading loop blocked.

    `trader`: makes the trader of a symbol for each window; without it, traders only take leases.
    """

    def __init__(self, desk: Any, ticks: Ticks, name: str, trader: Callable[[str], GridTrader] | None = None) -> None:
        self.desk, self._trader = desk, trader
        self.name, self.ticks, self.settings = name, ticks, desk.settings
        self.dead = self.frozen = self.draining = False
        self.beating = Beating("", KEYS)
        self.watch = cast(PrefectWatch, SimpleNamespace(away_since=None))
        facts = WorkerFacts(name, set, lambda: self.draining)
        self.guard = WindowGuard(self, facts, self.watch)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._start(self.guard.run())
        self._start(self.beating.beat_to(_Gated(self)))  # type: ignore[arg-type]

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def gate(self) -> None:
        """What a frozen process waits for."""
        while self.frozen:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.1)

    # --- the trading side ---------------------------------------------------------------------------------
    def connect(self) -> Any:
        return self.desk.redis

    def look(self) -> Any:
        return self._start(self._look())

    async def _look(self) -> Coverage:
        await self.gate()
        return await read_coverage(self.desk, self.beating.heartbeat)

    def own_window(self, symbol: str, since_ms: int, end_reason: Callable[[], str | None]) -> Any:
        return self._start(self._window(symbol, virtual_clock().passed, end_reason, since_ms))

    def leave(self) -> Any: ...

    def window(self, symbol: str, begun: float, end_reason: Callable[[], str | None]) -> "asyncio.Task[WindowReport]":
        """A window that Prefect hands out."""
        return self._start(self._window(symbol, begun, end_reason, None))

    async def _window(
        self, symbol: str, begun: float, end_reason: Callable[[], str | None], since_ms: int | None
    ) -> WindowReport:
        held = self.beating.begin_window(symbol, since_ms)
        ends_at = virtual_clock().now().timestamp() - virtual_clock().passed + begun + WINDOW
        try:
            return await run_window(
                self._trader(symbol) if self._trader else _Trader(self, symbol),  # type: ignore[arg-type]
                ends_at,
                virtual_clock().now,
                lambda: "stopping" if self.draining else end_reason(),
                Breakers(self.desk.redis, KEYS),
                waits_for_lease=since_ms is None,
            )
        finally:
            self.beating.end_window(held)

    # --- what happens to it -------------------------------------------------------------------------------
    def kill(self) -> None:
        """At once: nothing is given back."""
        self.dead = True
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """Kill it, if nobody has, and close its connections."""
        self.kill()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.desk.redis.aclose()

    async def drain(self) -> None:
        """As on SIGTERM."""
        self.draining = True
        await asyncio.sleep(2)
        await self.desk.redis.hdel(KEYS.workers, self.beating.worker)
        self.kill()

    async def block(self) -> None:
        """Its trading loop does not run any more; the watchdog ends the process."""
        self.frozen = True
        await asyncio.sleep(StallLimits().lag)
        self.kill()


class _Gated:
    """The worker's Redis client for heartbeats, which a frozen process does not write."""

    def __init__(self, worker: VirtualWorker) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._worker.desk.redis, name)
        if name not in ("evalsha", "eval"):
            return found

        async def gated(*args: Any, **kwargs: Any) -> Any:
            await self._worker.gate()
            return await found(*args, **kwargs)

        return gated


@dataclass
class Deployment:
    """A symbol's deployment at the model server. `broken`: its runs fail at once."""

    paused: bool = False
    deleted: bool = False
    broken: bool = False


@dataclass
class Run:
    """A window that was handed out. `ends`: an operator cancelled, suspended or deleted it."""

    symbol: str
    worker: VirtualWorker
    task: "asyncio.Task[WindowReport]"
    ends: bool = False


class ModelPrefect:
    """Hands each symbol a window every WINDOW seconds, staggered, while it is there."""

    def __init__(self, workers: list[VirtualWorker], rng: random.Random) -> None:
        self._workers, self._rng = workers, rng
        self.away = self.pool_paused = self.pool_deleted = False
        self.limit = 100
        self.deployments = {symbol: Deployment() for symbol in workers[0].settings.symbols}
        self.runs: list[Run] = []

    @property
    def _living(self) -> list[VirtualWorker]:
        return [each for each in self._workers if not (each.dead or each.draining or each.frozen)]

    def running(self) -> list[Run]:
        """The runs that have not ended."""
        return [run for run in self.runs if not run.task.done()]

    def hand_out(self, symbol: str) -> None:
        """A window of the symbol to some worker, if it may be."""
        deployment = self.deployments[symbol]
        blocked = self.away or self.pool_paused or self.pool_deleted or deployment.paused or deployment.deleted
        if blocked or deployment.broken or not self._living or len(self.running()) >= self.limit:
            return
        worker, asked = self._rng.choice(self._living), [False]

        def end_reason() -> str | None:
            return "cancelled" if asked[0] else None

        run = Run(symbol, worker, worker.window(symbol, virtual_clock().passed, end_reason))
        self.runs.append(run)
        asyncio.ensure_future(self._look_for_cancelling(run, asked))  # noqa: RUF006 - ends with the run

    async def _look_for_cancelling(self, run: Run, asked: list[bool]) -> None:
        while not run.task.done():
            await asyncio.sleep(2)
            asked[0] = asked[0] or (run.ends and not self.away)

    async def schedule(self, symbol: str, offset: float) -> None:
        """The symbol's schedule, for ever."""
        await asyncio.sleep(offset)
        while True:
            self.hand_out(symbol)
            await asyncio.sleep(WINDOW)

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for ever: schedules, and each worker's watch and housekeeping."""
        symbols = list(self.deployments)
        found = [self.schedule(symbol, 1 + index * WINDOW / len(symbols)) for index, symbol in enumerate(symbols)]
        return found + [work(each) for each in self._workers for work in (self.watch, self.keep_house)]

    async def watch(self, worker: VirtualWorker) -> None:
        """The worker's watch over the server, for ever."""
        silent = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS / 2)
            silent = silent + LOOK_SECONDS / 2 if self.away else 0.0
            worker.watch.away_since = virtual_clock().now() if silent >= AWAY_SECONDS else None

    async def keep_house(self, worker: VirtualWorker) -> None:
        """The worker's housekeeping at the server, for ever: it reads the pauses and mends what was deleted."""
        guard = worker.guard
        while not worker.dead:
            with suppress(TimeoutError):
                await asyncio.wait_for(guard.must_read_pauses.wait(), HOUSE_SECONDS)
            guard.must_read_pauses.clear()
            await worker.gate()
            if self.away or guard.look is None or worker.dead:
                await asyncio.sleep(0.5)
                continue
            asked_at = virtual_clock().passed
            paused = tuple(symbol for symbol, each in self.deployments.items() if each.paused and not each.deleted)
            record = PrefectRecord(at_ms=virtual_clock().ms(), pool_paused=self.pool_paused, paused=paused)
            await write_record(worker.desk.redis, KEYS, record)
            guard.pauses_read_at = asked_at
            if keeps_house(guard.look, guard.me):
                self.pool_deleted = False
                for each in self.deployments.values():
                    each.deleted = each.broken = False
