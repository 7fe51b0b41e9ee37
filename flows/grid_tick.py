"""The `grid-tick` flow: one window of one symbol."""

import asyncio

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.cancelling import cancel_requested
from flows.runtime.worker.deploy import remove_tick_deployment
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.tick.models import WindowReport
from tasks.tick.window import LEFT


@flow(name="grid-tick", flow_run_name="{symbol}", validate_parameters=True)
def grid_tick(symbol: str, account: str = MAIN_ACCOUNT) -> WindowReport:
    """Tick `symbol` at a dynamic interval until the window that began at the run's scheduled time ends.

    Raises GridflowError where every tick failed, and for a run of another account.
    """
    trading = trading_for(account)
    report = trading.run_window(symbol, flow_run.scheduled_start_time, cancel_requested)
    trading.run(trading.record_equity())
    get_run_logger().info(
        "%s: %d ticks, %d fills, %d orders placed, %d failed ticks; ended: %s",
        symbol,
        report.ticks,
        report.fills,
        report.placed,
        report.failed_ticks,
        report.ended,
    )
    if report.ended == LEFT and asyncio.run(remove_tick_deployment(account, symbol)):
        get_run_logger().info("%s left the settings and holds nothing: its deployment was removed", symbol)
    if report.failed_ticks and not report.ticks:
        raise GridflowError(f"{symbol}: every tick of this window failed. The last one: {report.why_failed}")
    return report
