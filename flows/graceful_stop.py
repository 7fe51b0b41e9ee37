"""The `graceful-stop` flow: stop trading and cancel what rests, until `resume`."""

from typing import Any

from prefect import flow, get_run_logger

from flows.runtime.own_account import trading_of
from tasks.base.deployment_names import MAIN_ACCOUNT


@flow(name="graceful-stop")
def graceful_stop(account: str = MAIN_ACCOUNT) -> dict[str, Any]:
    """No new orders, wait for those in flight, cancel what rests, book what filled.

    Raises GridflowError for a run of another account.
    """
    report = trading_of(account).stop_trading()
    get_run_logger().info("stopped: %d orders and %d units left", report["open_orders"], report["reserved_units"])
    return report
