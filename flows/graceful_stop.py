"""The `graceful-stop` flow: stop trading and cancel what rests, until `resume`."""

from prefect import flow, get_run_logger

from flows.runtime.worker.account_check import trading_for
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.tick.stopping import StopReport


@flow(name="graceful-stop")
def graceful_stop(account: str = MAIN_ACCOUNT) -> StopReport:
    """Place no new orders, wait for those in flight, cancel open orders, book what filled.

    Raises GridflowError for a run of another account, and, with a list of them, where orders are left open.
    """
    report = trading_for(account).stop_trading()
    get_run_logger().info("stopped: %d orders and %s reserved left", len(report.orders_open), report.reserved)
    if not report.is_clean:
        raise GridflowError(f"Trading is stopped, but {report}")
    return report
