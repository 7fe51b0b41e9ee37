"""What flows ask of an account: its status, the equity curve, the audit, the day to report."""

from datetime import UTC

from tasks.base.clock import to_ms, utc_now
from tasks.control.actions import Actor, record
from tasks.control.daily_loss import watch_daily_loss
from tasks.funds.models import RebalanceReport
from tasks.funds.rebalancing import MANUAL
from tasks.ledger import steps as ledger
from tasks.ledger.audit import AuditReport
from tasks.ledger.periods import Bucket, Period, bucket_of
from tasks.tick import monitor
from tasks.tick.active_symbols import retiring_symbols
from tasks.tick.desk import Desk
from tasks.views import steps as views
from tasks.views.models import StatusView

_REPORT_SECONDS = 3 * 86_400


async def status(desk: Desk) -> StatusView:
    """The account's status."""
    return await views.read_status(desk.settings, desk.redis)


async def record_equity(desk: Desk) -> None:
    """Store this minute's point of the equity curve, where no worker of the account has done it.

    The same reading is held against the daily loss limit.
    """
    view = await views.record_equity(desk.settings, desk.redis)
    if view is not None:
        await watch_daily_loss(desk.redis, desk.settings, view.equity_change)


async def watch_drift(desk: Desk) -> AuditReport:
    """Check the exchange's balance, then audit the pot, with the exchange's open orders and balances.

    Differences are published as an event.
    """
    await monitor.guard_balance(desk)
    return await ledger.watch_drift(desk.redis, desk.keys, list(desk.settings.symbols), desk.exchange)


async def report_due(desk: Desk) -> Bucket | None:
    """Yesterday (UTC), once: the first caller of the account's workers gets it, the others None."""
    day = bucket_of(bucket_of(to_ms(utc_now()), Period.DAY, UTC).start_ms - 1, Period.DAY, UTC)
    is_mine = await desk.redis.set(desk.keys.daily_report(f"{day.day}"), "1", nx=True, ex=_REPORT_SECONDS)
    return day if is_mine else None


async def report_failed(desk: Desk, day: Bucket) -> None:
    """Let the next caller of `report_due` try that day again."""
    await desk.redis.delete(desk.keys.daily_report(f"{day.day}"))


async def retiring(desk: Desk) -> list[str]:
    """Symbols that left the settings and still hold something."""
    return await retiring_symbols(desk.redis, desk.keys, desk.settings)


async def rebalance(desk: Desk, *, force: bool, reason: str) -> RebalanceReport:
    """Share the pot again by the settings in force. `force`: without waiting for a trigger."""
    report = await monitor.rebalance(desk, force=force, reason=reason)
    if reason == MANUAL:
        await record(desk.redis, desk.keys, Actor.PREFECT, "rebalance", (), report.outcome)
    return report


async def check_each_minute(desk: Desk) -> None:
    """The exchange's balance, the triggers of a rebalance, and a point of the equity curve."""
    await monitor.run_monitor(desk)
    await record_equity(desk)
