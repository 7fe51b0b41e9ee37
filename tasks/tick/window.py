"""A window: one symbol ticked at a dynamic interval until time is up."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from redis.exceptions import RedisError

from tasks.base.clock import Clock, to_ms
from tasks.base.errors import ExchangeError, GridflowError, LeaseLost, RedisRestarted
from tasks.exchange.limits.breaker_store import Breakers, Pass
from tasks.tick.models import TickFailure, TickReport, WindowReport
from tasks.tick.store import may_try_again
from tasks.tick.trader import GridTrader, LeaseHeld, SymbolLeft

log = logging.getLogger(__name__)
LEFT = "left"  # why a window ends whose symbol left the settings and has nothing any more
_SLICE_SECONDS = 0.25  # how soon a sleeping window notices that it should end
_LEASE_POLL_SECONDS = 1.0
_MOST_WAIT_SECONDS = 15.0


@dataclass
class _Tally:
    ticks: int = 0
    fills: int = 0
    placed: int = 0
    failed: int = 0
    why_failed: str = ""
    price: Decimal | None = None

    def add(self, report: TickReport) -> None:
        self.ticks += 1
        self.fills += report.fills
        self.placed += report.placed
        self.price = report.price


def _nobody(_seconds: float) -> None:
    """Told of a tick, and does nothing with it."""


async def run_window(
    trader: GridTrader,
    ends_at: float,
    clock: Clock,
    why_end: Callable[[], str | None],
    breakers: Breakers | None = None,
    ticked: Callable[[float], None] = _nobody,
) -> WindowReport:
    """Tick until `ends_at` (epoch seconds) or until `why_end` gives a reason. Faults of one tick do not end it.

    `breakers`: with other rules than the usual ones. `ticked` is told after each tick when the next one is due.
    """
    tally = _Tally()
    breakers = breakers or Breakers(trader.desk.redis, trader.desk.keys)
    ended = "late" if clock().timestamp() >= ends_at else None
    try:
        while ended is None:
            wait = await _one_tick(trader, breakers, tally)
            if isinstance(wait, str):
                ended = wait
                break
            ticked(wait)
            ended = await _sleep(wait, ends_at, clock, why_end)
    finally:
        await give_up_lease(trader)
    return WindowReport(
        symbol=trader.symbol,
        ticks=tally.ticks,
        fills=tally.fills,
        placed=tally.placed,
        failed_ticks=tally.failed,
        why_failed=tally.why_failed,
        ended=ended or "time",
        price=tally.price,
    )


async def _one_tick(trader: GridTrader, breakers: Breakers, tally: _Tally) -> float | str:
    """Seconds to wait before the next tick, or why the window ends."""
    try:
        report = await guarded_tick(trader, breakers)
    except BreakerOpen as skipped:
        log.info("tick skipped: circuit breaker open", extra={"symbol": trader.symbol, "why": str(skipped)})
        return min(max(skipped.wait_seconds, _SLICE_SECONDS), _MOST_WAIT_SECONDS)
    except LeaseHeld as held:
        return min(max(held.wait_ms, 50) / 1000, _LEASE_POLL_SECONDS)
    except LeaseLost:
        return await _after_lost_lease(trader)
    except SymbolLeft:
        return LEFT
    except RedisRestarted as error:
        log.warning("tick skipped: Redis went back or restarted", extra={"symbol": trader.symbol, "why": str(error)})
        await _failed(trader, tally, str(error))
        return _LEASE_POLL_SECONDS
    except (GridflowError, RedisError) as error:
        log.error("tick failed; the next one starts anew", extra={"symbol": trader.symbol, "error": str(error)})
        return await _failed(trader, tally, str(error))
    except Exception as error:  # a fault of ours in one tick must not end the window; it is told in full
        log.exception("tick failed unexpectedly; the next one starts anew", extra={"symbol": trader.symbol})
        return await _failed(trader, tally, f"{type(error).__name__}; the worker's log has all of it")
    tally.add(report)
    return LEFT if report.left else float(report.next_in)


async def _after_lost_lease(trader: GridTrader) -> float | str:
    """Why the window ends: another worker ticks the symbol. Else seconds to wait: Redis restarted under the lease."""
    desk = trader.desk
    try:
        if await may_try_again(desk.redis, keys=desk.keys, symbol=trader.symbol):
            return _LEASE_POLL_SECONDS
    except RedisError as missing:
        log.warning("lease not read", extra={"symbol": trader.symbol, "error": str(missing)})
    return "lease held elsewhere"


async def _failed(trader: GridTrader, tally: _Tally, error: str) -> float:
    """Keep why the tick failed for the views; one that failed for want of Redis has the log only. Seconds to wait."""
    tally.failed, tally.why_failed = tally.failed + 1, error
    desk = trader.desk
    failure = TickFailure(at_ms=to_ms(desk.clock()), error=error)
    try:
        await desk.redis.hset(desk.keys.stats, f"error|{trader.symbol}", failure.model_dump_json())
    except RedisError as missing:
        log.warning("the failed tick is not shown", extra={"symbol": trader.symbol, "error": str(missing)})
    return min(2.0**tally.failed, _MOST_WAIT_SECONDS)


class BreakerOpen(Exception):
    """The symbol's or the exchange's circuit breaker lets no tick through now."""

    def __init__(self, why: str, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(why)


async def guarded_tick(trader: GridTrader, breakers: Breakers) -> TickReport:
    """A tick, if the breakers let it through; they are told how it went, however it ends.

    They are asked, at the cost of a round trip, only where the tick's own reading shows them not at rest.
    """
    given = Pass(trader.symbol, trader.owner, allowed=True)

    async def gate() -> None:
        nonlocal given
        given = await breakers.allowed(trader.symbol, trader.owner)
        if not given.allowed:
            raise BreakerOpen(given.why, given.wait_seconds)

    try:
        report = await trader.tick(gate)
    except BreakerOpen:
        raise
    except Exception as error:
        await breakers.report(given, error)
        raise
    await breakers.report(given, _trouble(report))
    return report


def _trouble(report: TickReport) -> GridflowError | None:
    """What a tick says of placing, though its readings went well.

    That no order was taken counts against the symbol; while orders are in doubt nothing is said for it.
    """
    if report.placed and report.not_placed >= report.placed:
        return ExchangeError(f"{report.symbol}: not one of {report.placed} orders was clearly taken")
    if report.resolving:
        return GridflowError(f"{report.symbol}: {report.resolving} orders are in doubt")
    return None


async def _sleep(seconds: float, ends_at: float, clock: Clock, why_end: Callable[[], str | None]) -> str | None:
    """Sleep in slices; the reason to end the window, or None to tick again."""
    wake_at = clock().timestamp() + seconds
    while True:
        reason = why_end()
        if reason is not None:
            return reason
        now = clock().timestamp()
        if now >= ends_at:
            return "time"
        if now >= wake_at:
            return None
        await asyncio.sleep(min(_SLICE_SECONDS, wake_at - now, ends_at - now))


async def give_up_lease(trader: GridTrader) -> None:
    """Let the next window start at once; a lease that cannot be given back runs out by itself."""
    try:
        await trader.end_lease()
    except RedisError as error:
        log.warning("lease not given back", extra={"symbol": trader.symbol, "error": str(error)})
