"""A window: ticks one symbol at a dynamic interval until its end time."""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from redis.exceptions import RedisError

from tasks.base.clock import Clock
from tasks.base.errors import ExchangeError, GridflowError, LeaseLost, RedisRestarted, UnknownSymbol
from tasks.base.events import EventKind, publish_event
from tasks.base.incidents import Incident
from tasks.exchange.limits.breaker_store import Breakers, Pass
from tasks.tick.failures import store_failure
from tasks.tick.models import TickReport, WindowReport
from tasks.tick.store import may_try_again
from tasks.tick.trader import GridTrader, LeaseHeld, SymbolLeft

log = logging.getLogger(__name__)
LEFT = "left"  # end reason: the symbol left the settings and holds nothing
ELSEWHERE = "lease held elsewhere"  # end reason
_SLICE_SECONDS = 0.25  # a sleeping window checks this often whether it should end
_LEASE_POLL_SECONDS = 1.0
_MAX_WAIT_SECONDS = 15.0


@dataclass
class _Totals:
    """Sums over the ticks of one window."""

    ticks: int = 0
    fills: int = 0
    placed: int = 0
    failed: int = 0
    why_failed: str = ""
    price: Decimal | None = None
    late_seconds: float = 0.0
    idle: Mapping[str, str] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)

    def add(self, report: TickReport) -> None:
        self.idle = report.idle
        if report.resolving:
            self.note(Incident.ORDER_UNKNOWN)
        if report.stop_fires:
            self.note(Incident.STOP_FIRED)
        self.ticks += 1
        self.fills += report.fills
        self.placed += report.placed
        self.price = report.price

    def note(self, incident: Incident) -> None:
        if incident not in self.incidents:
            self.incidents.append(incident)


def _ignore_tick(_seconds: float) -> None:
    """The default for `on_tick`."""


async def run_window(
    trader: GridTrader,
    ends_at: float,
    clock: Clock,
    end_reason: Callable[[], str | None],
    breakers: Breakers | None = None,
    on_tick: Callable[[float], None] = _ignore_tick,
    waits_for_lease: bool = True,
) -> WindowReport:
    """Tick until `ends_at` (epoch seconds) or until `end_reason` returns a reason. A failed tick does not end it.

    `breakers`: circuit breakers, those with the default rules if absent. `on_tick` is called after each tick with the
    seconds until the next one. `waits_for_lease`: wait while another worker holds the lease, else end.
    """
    totals = _Totals()
    breakers = breakers or Breakers(trader.desk.redis, trader.desk.keys)
    ended = "late" if clock().timestamp() >= ends_at else None
    try:
        while ended is None:
            wait = await _tick_once(trader, breakers, totals, waits_for_lease)
            if isinstance(wait, str):
                ended = wait
                break
            on_tick(wait)
            planned = clock().timestamp() + wait
            ended = await _sleep(wait, ends_at, clock, end_reason)
            totals.late_seconds = max(totals.late_seconds, clock().timestamp() - planned)
    finally:
        await give_up_lease(trader)
    return WindowReport(
        symbol=trader.symbol,
        ticks=totals.ticks,
        fills=totals.fills,
        placed=totals.placed,
        failed_ticks=totals.failed,
        why_failed=totals.why_failed,
        ended=ended or "time",
        price=totals.price,
        late_seconds=round(totals.late_seconds, 3),
        idle=Counter(totals.idle.values()),
        incidents=tuple(totals.incidents),
    )


async def _tick_once(trader: GridTrader, breakers: Breakers, totals: _Totals, waits_for_lease: bool) -> float | str:
    """Tick once. Returns the seconds to wait before the next tick, or the reason why the window ends."""
    try:
        report = await guarded_tick(trader, breakers)
    except BreakerOpen as skipped:
        log.info("tick skipped: circuit breaker open", extra={"symbol": trader.symbol, "why": str(skipped)})
        return min(max(skipped.wait_seconds, _SLICE_SECONDS), _MAX_WAIT_SECONDS)
    except LeaseHeld as held:
        if not waits_for_lease:
            return ELSEWHERE
        return min(max(held.wait_ms, 50) / 1000, _LEASE_POLL_SECONDS)
    except LeaseLost:
        after = await _after_lost_lease(trader)
        if after == ELSEWHERE:
            totals.note(Incident.LEASE_LOST)
        return after
    except SymbolLeft:
        return LEFT
    except RedisRestarted as error:
        log.warning("tick skipped: Redis went back or restarted", extra={"symbol": trader.symbol, "why": str(error)})
        await _record_failure(trader, totals, str(error))
        return _LEASE_POLL_SECONDS
    except (GridflowError, RedisError) as error:
        log.error(
            "tick failed; the next tick reads everything again", extra={"symbol": trader.symbol, "error": str(error)}
        )
        return await _record_failure(trader, totals, str(error), unlisted=isinstance(error, UnknownSymbol))
    except Exception as error:  # a programming error in one tick must not end the window
        log.exception("tick failed unexpectedly; the next tick reads everything again", extra={"symbol": trader.symbol})
        await _tell(trader, EventKind.TICK_CRASHED, {"error_type": type(error).__name__, "error": str(error)})
        return await _record_failure(trader, totals, f"{type(error).__name__}; see the worker's log for the traceback")
    totals.add(report)
    return LEFT if report.left else float(report.next_in)


async def _after_lost_lease(trader: GridTrader) -> float | str:
    """The reason why the window ends, or the seconds to wait where Redis restarted while this worker held the lease."""
    desk = trader.desk
    try:
        if await may_try_again(desk.redis, keys=desk.keys, symbol=trader.symbol):
            return _LEASE_POLL_SECONDS
    except RedisError as unread:
        log.warning("the lease was not read", extra={"symbol": trader.symbol, "error": str(unread)})
    log.warning("the lease was lost to another worker", extra={"symbol": trader.symbol})
    await _tell(trader, EventKind.LEASE_LOST, {"worker": f"{socket.gethostname()}:{os.getpid()}"})
    return ELSEWHERE


async def _tell(trader: GridTrader, kind: EventKind, facts: Mapping[str, str]) -> None:
    """Publish an event of the symbol. Without Redis only the log has it."""
    try:
        await publish_event(trader.desk.redis, trader.desk.keys, kind, {"symbol": trader.symbol, **facts})
    except RedisError as untold:
        log.warning("an event was not stored", extra={"symbol": trader.symbol, "error": str(untold)})


async def _record_failure(trader: GridTrader, totals: _Totals, error: str, *, unlisted: bool = False) -> float:
    """Store why the tick failed, for the views. Returns the seconds to wait."""
    totals.failed, totals.why_failed = totals.failed + 1, error
    await store_failure(trader.desk, trader.symbol, error, unlisted=unlisted)
    return min(2.0**totals.failed, _MAX_WAIT_SECONDS)


class BreakerOpen(Exception):
    """The circuit breaker of the symbol or of the exchange is open: no tick now."""

    def __init__(self, why: str, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(why)


async def guarded_tick(trader: GridTrader, breakers: Breakers) -> TickReport:
    """Tick if the circuit breakers allow it, and report the outcome to them. Raises BreakerOpen if they do not.

    The check costs a round trip. It is left out where both breakers are closed and count no failure.
    """
    permit = Pass(trader.symbol, trader.owner, allowed=True)

    async def check_breakers() -> None:
        nonlocal permit
        permit = await breakers.allowed(trader.symbol, trader.owner)
        if not permit.allowed:
            raise BreakerOpen(permit.why, permit.wait_seconds)

    try:
        report = await trader.tick(check_breakers)
    except BreakerOpen:
        raise
    except Exception as error:
        await breakers.report(permit, error)
        raise
    await breakers.report(permit, _placement_error(report))
    return report


def _placement_error(report: TickReport) -> GridflowError | None:
    """The error that a finished tick counts as, for the circuit breakers; None for a success.

    A failure of the symbol where the exchange clearly accepted none of its orders. Neither a failure nor a success
    while the outcome of an order is unknown.
    """
    if report.placed and report.not_placed >= report.placed:
        return ExchangeError(f"{report.symbol}: none of {report.placed} orders was clearly accepted")
    if report.resolving:
        return GridflowError(f"{report.symbol}: the outcome of {report.resolving} orders is unknown")
    return None


async def _sleep(seconds: float, ends_at: float, clock: Clock, end_reason: Callable[[], str | None]) -> str | None:
    """Sleep in slices. Returns the reason to end the window, or None to tick again."""
    wake_at = clock().timestamp() + seconds
    while True:
        reason = end_reason()
        if reason is not None:
            return reason
        now = clock().timestamp()
        if now >= ends_at:
            return "time"
        if now >= wake_at:
            return None
        await asyncio.sleep(min(_SLICE_SECONDS, wake_at - now, ends_at - now))


async def give_up_lease(trader: GridTrader) -> None:
    """Give the lease back, so that the next window starts at once. Without Redis the lease expires by itself."""
    try:
        await trader.end_lease()
    except RedisError as error:
        log.warning("lease not given back", extra={"symbol": trader.symbol, "error": str(error)})
