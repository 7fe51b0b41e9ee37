"""Tells of symbols that nobody ticks: an event when a symbol becomes dark, and one when it is ticked again."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ConfigDict

from tasks.base.events import EVENTS_CAP, EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.models import Frozen
from tasks.tick.active_symbols import active_symbols
from tasks.tick.dark import ON_TIME, Lateness, keeps_watch, lateness
from tasks.tick.desk import Desk
from tasks.tick.heartbeat import Workers, dead_after_ms, parsed_workers
from tasks.tick.models import TickReport
from tasks.tick.prefect_record import PrefectRecord, parsed_record

log = logging.getLogger(__name__)
_SETTLE_SECONDS = 15.0  # a process that has just started, or could not read Redis, gives the others time to tick
_FIRST_TICK_SECONDS = 60.0  # a symbol that never ticked may first be rebuilt from the exchange


class DarkMark(Frozen):
    """A symbol that was told to be dark: the time of its last tick (or since when it is waited for), and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    since_ms: int
    why: str


class _Found(NamedTuple):
    """One look. `ticks`: the newest tick of each symbol that should be ticked, None where there was none."""

    workers: Workers
    ticks: Mapping[str, TickReport | None]
    marks: Mapping[str, DarkMark]


class _Told(NamedTuple):
    """What to tell of a symbol; `mark` is None where it is dark no more."""

    symbol: str
    mark: DarkMark | None
    facts: Mapping[str, object]


class DarkWatch:
    """One process's watch over all symbols of its account. `me`: the id in its heartbeat."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._watching_since: float | None = None
        self._waited_for: dict[str, int] = {}  # symbols that never ticked: when this process saw them first (ms)

    async def look(self, desk: Desk) -> None:
        """Look at every symbol of a desk; see `look_at`."""
        await self.look_at(desk.redis, desk.keys, lambda: active_symbols(desk), desk.lease_ms)

    def rest(self) -> None:
        """Nothing has to be watched now; the watch begins anew with the next look."""
        self._watching_since = None

    async def look_at(
        self, redis: RedisClient, keys: Keys, symbols: Callable[[], Awaitable[Sequence[str]]], lease_ms: int
    ) -> None:
        """Look at every symbol, and tell what has changed. A look that fails begins the watch anew.

        `symbols`: reads those that need ticks. `lease_ms`: how long a lease lasts.
        """
        since, self._watching_since = self._watching_since, None
        found = await _read(redis, keys, await symbols())
        dead_ms = dead_after_ms(lease_ms)
        self._watching_since = since if since is not None else time.monotonic()
        if keeps_watch(found.workers, self._me, dead_ms):
            settled = time.monotonic() - self._watching_since >= _SETTLE_SECONDS
            await _tell(redis, keys, self._changes(found, dead_ms, settled))

    def _changes(self, found: _Found, dead_ms: int, settled: bool) -> list[_Told]:
        now_ms, told = found.workers.now_ms, []
        for symbol, last in found.ticks.items():
            late = self._lateness(symbol, last, found.workers, dead_ms)
            if late.dark and symbol not in found.marks and settled:
                mark = DarkMark(since_ms=last.at_ms if last else self._waited_for[symbol], why=late.why)
                told.append(_Told(symbol, mark, {"symbol": symbol, **mark.model_dump()}))
            elif not late.dark and symbol in found.marks and (last is not None or symbol not in self._waited_for):
                told.append(_over(symbol, found.marks[symbol], last.at_ms if last else now_ms))
        gone = [_over(symbol, mark, now_ms) for symbol, mark in found.marks.items() if symbol not in found.ticks]
        return told + gone

    def _lateness(self, symbol: str, last: TickReport | None, workers: Workers, dead_ms: int) -> Lateness:
        if last is not None:
            self._waited_for.pop(symbol, None)
            return lateness(symbol, last, workers, dead_ms)
        waited = (workers.now_ms - self._waited_for.setdefault(symbol, workers.now_ms)) / 1000
        return Lateness(waited, "it has never been ticked") if waited >= _FIRST_TICK_SECONDS else ON_TIME


def _over(symbol: str, mark: DarkMark, at_ms: int) -> _Told:
    seconds = max(at_ms - mark.since_ms, 0) / 1000
    return _Told(symbol, None, {"symbol": symbol, "since_ms": mark.since_ms, "seconds": round(seconds, 1)})


async def _read(redis: RedisClient, keys: Keys, symbols: Sequence[str]) -> _Found:
    """All in one round trip. Symbols that are not to be ticked now, paused in Prefect or stopped, are left out."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hgetall(keys.workers)
        pipe.get(keys.prefect)
        pipe.hget(keys.funds, "stopped")
        pipe.hgetall(keys.dark)
        for symbol in symbols:
            pipe.get(keys.last_tick(symbol))
        (seconds, micros), workers, prefect, stopped, marks, *ticks = await pipe.execute()
    record = parsed_record(prefect)
    expected = [] if stopped == "1" else [symbol for symbol in symbols if not _is_paused(symbol, record)]
    reports = dict(zip(symbols, ticks, strict=True))
    return _Found(
        parsed_workers(int(seconds) * 1000 + int(micros) // 1000, workers),
        {symbol: _report(reports[symbol]) for symbol in expected},
        parsed_marks(marks),
    )


def _is_paused(symbol: str, record: PrefectRecord | None) -> bool:
    return record is not None and record.is_paused(symbol)


def _report(text: str | None) -> TickReport | None:
    """The newest tick; None where there was none since the symbol came, or came back, into the settings."""
    report = TickReport.model_validate_json(text) if text else None
    return None if report is None or report.left else report


def parsed_marks(stored: Mapping[str, str]) -> dict[str, DarkMark]:
    """The symbols in the hash `Keys.dark`, sorted."""
    return {symbol: DarkMark.model_validate_json(text) for symbol, text in sorted(stored.items())}


async def _tell(redis: RedisClient, keys: Keys, changes: Sequence[_Told]) -> None:
    if not changes:
        return
    args: list[str | int] = [EVENTS_CAP, EventKind.SYMBOL_DARK.value, EventKind.SYMBOL_TICKS.value, len(changes)]
    for one in changes:
        args += [one.symbol, one.mark.model_dump_json() if one.mark else "", json.dumps(one.facts)]
    names = [keys.dark, keys.events, keys.outbox]
    told = await script(redis, "tasks.tick", "tell_dark")(keys=names, args=args)
    for one, is_new in zip(changes, told, strict=True):
        if is_new and one.mark is not None:
            log.error("the symbol is dark: nobody ticks it", extra=dict(one.facts))
        elif is_new:
            log.warning("the symbol is ticked again", extra=dict(one.facts))
