"""The `grid-tick` flow: one window of one symbol."""

import asyncio

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.runtime.account_work import record_equity
from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.cancelling import cancel_requested
from flows.runtime.worker.deploy import remove_tick_deployment
from flows.runtime.worker.pages import show_window
from flows.runtime.worker.parameters import Account, Symbol
from flows.runtime.worker.run_names import run_fields, window_name
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.tick.models import WindowReport
from tasks.tick.window import LEFT


@flow(name="grid-tick", flow_run_name=window_name, validate_parameters=True)
def grid_tick(symbol: Symbol, account: Account = MAIN_ACCOUNT) -> WindowReport:
    """Tick a symbol at a dynamic interval until the window that began at the run's scheduled time ends.

    Raises GridflowError where every tick failed, and for a run of another account.

    Args:
        symbol: The symbol by its ccxt name, such as BTC/USDT. It must be in the settings.
        account: The pot that it trades from. A worker refuses runs of other accounts.
    """
    trading = trading_for(account)
    report = trading.run_window(symbol, flow_run.scheduled_start_time, cancel_requested, run_fields())
    trading.ask(record_equity)
    get_run_logger().info(
        "%s: %d ticks, %d fills, %d orders placed, %d failed ticks; ended: %s",
        symbol,
        report.ticks,
        report.fills,
        report.placed,
        report.failed_ticks,
        report.ended,
    )
    show_window(trading.settings, report)
    if report.ended == LEFT and asyncio.run(remove_tick_deployment(account, symbol)):
        get_run_logger().info("%s left the settings and holds nothing: its deployment was removed", symbol)
    if report.failed_ticks and not report.ticks:
        raise GridflowError(f"{symbol}: every tick of this window failed. The last one: {report.why_failed}")
    return report
