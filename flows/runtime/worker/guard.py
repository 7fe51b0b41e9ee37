"""Keeps every symbol ticking: runs the windows that Prefect does not hand out. The decisions are in `own_windows`."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import anyio
from redis.exceptions import RedisError

from flows.runtime.beating import Duty
from flows.runtime.worker.own_windows import (
    Observed,
    PrefectNow,
    must_ask_prefect,
    observe,
    windows_to_end,
    windows_to_run,
)
from flows.runtime.worker.past_windows import PastWindows
from flows.runtime.worker.prefect_watch import PrefectWatch
from flows.runtime.worker.trading_side import TradingSide, WorkerFacts
from tasks.base.clock import to_ms, utc_now
from tasks.base.errors import GridflowError
from tasks.tick.coverage import Coverage
from tasks.tick.heartbeat import BEAT_SECONDS

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 5.0
_BLIND_SECONDS = BEAT_SECONDS + 1  # after a look that failed: until then every living worker has beaten again


@dataclass
class _OwnWindow:
    """An own window that runs. `ends`: why it must end, once it must."""

    since: datetime
    ends: str | None = None


class WindowGuard:
    """Looks each second who runs which symbol, and begins and ends the worker's own windows."""

    def __init__(self, trading: TradingSide, worker: WorkerFacts, watch: PrefectWatch) -> None:
        self.trading, self.watch = trading, watch
        self.past = PastWindows()
        self.pauses_read_at = float("-inf")  # s, monotonic: set by whoever reads them
        self.must_read_pauses = asyncio.Event()
        self.look: Coverage | None = None
        self._worker = worker
        self._seen = Observed()
        self._own: dict[str, _OwnWindow] = {}
        self._since: dict[str, datetime] = {}  # begin of the unbroken stretch of own windows, by symbol
        self._not_before: dict[str, float] = {}
        self._blind_until = 0.0
        self._complained = ""

    @property
    def is_idle(self) -> bool:
        """Whether no own window runs."""
        return not self._own

    @property
    def runs(self) -> frozenset[UUID]:
        """The Prefect runs that this worker has."""
        return frozenset(self._worker.runs())

    @property
    def me(self) -> str:
        """The id of this worker."""
        return self.trading.beating.worker

    async def run(self) -> None:
        """Guard until cancelled."""
        async with anyio.create_task_group() as windows:
            while True:
                self.tell()
                try:
                    look = await asyncio.wrap_future(self.trading.look())
                except Exception as error:  # noqa: BLE001 - whatever it is: the worker's runs must go on
                    self._blind(error)
                    await anyio.sleep(_TRY_AGAIN_SECONDS if isinstance(error, GridflowError) else LOOK_SECONDS)
                    continue
                self._complained, self.look = "", look
                for symbol in self._decide(look, _now()):
                    self._own[symbol] = _OwnWindow(self._since.setdefault(symbol, utc_now()))
                    windows.start_soon(self._run, symbol)
                await anyio.sleep(LOOK_SECONDS)

    def tell(self) -> None:
        """Put the worker's state into the heartbeat."""
        away, worker = self.watch.away_since, self._worker
        self.trading.beating.duty = Duty(
            name=worker.name,
            guards=True,
            draining=worker.is_draining(),
            prefect_away_since_ms=None if away is None else to_ms(away),
            runs=tuple(sorted(map(str, worker.runs()))),
        )

    def _decide(self, look: Coverage, now: float) -> list[str]:
        """The symbols whose windows must begin now. Asks those that must end to do so."""
        self._seen = observe(self._seen, look, now)
        prefect = PrefectNow(self.watch.away_since is not None, self.pauses_read_at)
        if must_ask_prefect(self._seen, prefect):
            self.must_read_pauses.set()
        for symbol, why in windows_to_end(look, self.me, self._own).items():
            self._own[symbol].ends = self._own[symbol].ends or why
        for symbol in [each for each in self._since if each not in self._own and each not in self._seen.bare]:
            del self._since[symbol]  # Prefect handed a window out: the stretch is over
        if self._worker.is_draining() or now < self._blind_until:
            return []
        wanted = windows_to_run(self._seen, look, self.me, prefect, now, self._not_before)
        return [symbol for symbol in wanted if symbol not in self._own]

    def _blind(self, error: Exception) -> None:
        """A look failed. Nothing that this worker has seen can be trusted until the others have beaten again."""
        self._seen, self._blind_until = Observed(), _now() + _BLIND_SECONDS
        why = str(error) or type(error).__name__
        if why != self._complained:
            self._complained = why
            text = "cannot see which symbols need a window; trying again"
            log.warning(text, extra={"error": why}, exc_info=_trace(error))

    async def _run(self, symbol: str) -> None:
        own = self._own[symbol]
        began, since_ms = datetime.now(UTC), to_ms(own.since)
        if own.since == self._since.get(symbol) and not self.past.is_open(symbol):
            facts = {"symbol": symbol, "prefect": "away" if self.watch.away_since else "handed no window out"}
            log.warning("this worker runs the symbol without Prefect", extra=facts)
        try:
            report = await asyncio.wrap_future(self.trading.own_window(symbol, since_ms, lambda: own.ends))
        except Exception as error:  # whatever it is: the other symbols' windows go on, and this one is tried again
            self._not_before[symbol] = _now() + _TRY_AGAIN_SECONDS
            log.warning("own window failed", extra={"symbol": symbol, "error": str(error)}, exc_info=_trace(error))
            return
        finally:
            del self._own[symbol]
        if not report.ticks:
            self._not_before[symbol] = _now() + _TRY_AGAIN_SECONDS
        self.past.add(report, began, datetime.now(UTC))


def _now() -> float:
    """Seconds, by the clock of the running loop."""
    return asyncio.get_running_loop().time()


def _trace(error: Exception) -> Exception | None:
    """The error to print a traceback of; none for an error that says what to do."""
    return None if isinstance(error, (GridflowError, RedisError, OSError)) else error
