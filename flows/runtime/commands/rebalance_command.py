"""`gridflow rebalance`: rebalances now, shows what moved, and waits until resting orders have their new sizes."""

import json
import time
from pathlib import Path
from typing import Any

import click

from flows.runtime.commands.connections import Progress, check_prefect, run_with_redis, warn_unresponsive
from flows.runtime.commands.option_types import Seconds
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from tasks.base.keys import Keys
from tasks.base.money import ZERO, plain
from tasks.base.redis_client import RedisClient
from tasks.control import runs
from tasks.control.prefect_runs import FlowRun, PrefectRuns
from tasks.funds.models import RebalanceReport
from tasks.settings.model import Settings
from tasks.settings.running import has_redis, prefect_api
from tasks.views.models import StatusView

_POLL_SECONDS = 1.0


@click.command()
@common_options
@json_option
@click.option("--timeout", "seconds", type=Seconds(1), default=120, show_default=True, help="Seconds.")
@click.option("--follow/--no-follow", default=True, help="Wait until resting orders have their new sizes.")
def rebalance(config: Path | None, state: Path | None, as_json: bool, seconds: float, follow: bool) -> None:
    """Rebalance the pot now and wait until every resting order has its new size.

    Runs the deployment rebalance/manual. Exit code 0 when the run completed, even if some sizes have not changed yet.
    """
    settings, deadline = settings_in_force(config, state), time.monotonic() + seconds
    api = prefect_api(state)
    check_prefect(api, state)
    with_redis = has_redis(settings, state)
    if with_redis:
        run_with_redis(lambda redis: redis.ping(), settings, state)
    warn_unresponsive(state)
    ended = runs.rebalance(PrefectRuns(api), settings.account, seconds, Progress().report)
    if with_redis:
        run_with_redis(lambda redis: _record(redis, settings, ended), settings, state)
    report = (
        run_with_redis(lambda redis: _report(redis, settings), settings, state) if ended.ok and with_redis else None
    )
    if not as_json:
        _print(ended, report, settings.quote)
    begun = time.monotonic()
    left = _followed(settings, state, deadline) if report is not None and follow else None
    took = time.monotonic() - begun
    if as_json:
        click.echo(json.dumps(_as_json(ended, report, left, took)))
    elif left is not None:
        _print_following(left, took)
    if not ended.ok:
        raise SystemExit(1)


async def _record(redis: RedisClient, settings: Settings, ended: FlowRun) -> None:
    from tasks.control.actions import Actor, record

    await record(redis, Keys(settings.account), Actor.CLI, "rebalance", (), f"run {ended.name}: {ended.label}")


async def _report(redis: RedisClient, settings: Settings) -> RebalanceReport | None:
    from tasks.views.store import last_rebalance

    return await last_rebalance(redis, Keys(settings.account))


async def _status(redis: RedisClient, settings: Settings) -> StatusView:
    from tasks.views.steps import read_status

    return await read_status(settings, redis)


def _followed(settings: Settings, state: Path | None, deadline: float) -> dict[str, str]:
    """Wait until orders match the allocations or the time is over; what still differs, by symbol."""
    from tasks.views.rules import unfollowed

    progress = Progress()
    while True:
        left = unfollowed(run_with_redis(lambda redis: _status(redis, settings), settings, state))
        if not left or time.monotonic() > deadline:
            return left
        progress.report("; ".join(f"{symbol}: {why}" for symbol, why in left.items()))
        time.sleep(_POLL_SECONDS)


def _print(ended: FlowRun, report: RebalanceReport | None, quote: str) -> None:
    click.echo(f"Rebalance {ended.name}: {ended.type}" + (f" ({ended.message})" if ended.message else ""))
    if report is None:
        return
    from rich.console import Console
    from rich.table import Table

    moved = sum((max(change.after - change.before, ZERO) for change in report.changes), ZERO)
    click.echo(f"Strategy {report.strategy}, pool {report.pool:,.2f} {quote}: {report.outcome}.")
    click.echo(f"{moved:,.2f} {quote} went to other symbols. Allocations in {quote}:")
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "before", "target", "after", "used", "committed"):
        table.add_column(name, justify="left" if name == "symbol" else "right")
    for change in report.changes:
        amounts = (change.before, change.target, change.after, change.used, change.committed)
        table.add_row(change.symbol, *(f"{amount:,.2f}" for amount in amounts))
    Console().print(table)


def _print_following(left: dict[str, str], took: float) -> None:
    if not left:
        click.echo(f"Every resting order follows its allocation ({took:.0f} s).")
        return
    click.echo(f"After {took:.0f} s some orders do not follow yet; they go on by themselves:")
    for symbol, why in left.items():
        click.echo(f"  {symbol}: {why}")


def _as_json(
    ended: FlowRun, report: RebalanceReport | None, left: dict[str, str] | None, took: float
) -> dict[str, Any]:
    """One object; amounts in quote as text. `followed` is null where the sizes were not checked."""
    changes = [
        {
            "symbol": change.symbol,
            "before": plain(change.before),
            "target": plain(change.target),
            "after": plain(change.after),
            "used": plain(change.used),
            "committed": plain(change.committed),
        }
        for change in (report.changes if report else ())
    ]
    outcome = {"outcome": report.outcome, "applied": report.applied, "strategy": report.strategy} if report else {}
    run = {"id": ended.run_id, "name": ended.name, "state": ended.type, "message": ended.message or None}
    followed = None if left is None else not left
    return (
        run | outcome | {"changes": changes, "followed": followed, "unfollowed": left or {}, "seconds": round(took, 1)}
    )
