"""The `resume` flow: trade again after a graceful stop or a pause."""

from prefect import flow, get_run_logger

from flows.runtime.worker.account_check import trading_for
from tasks.base.deployment_names import MAIN_ACCOUNT


@flow(name="resume")
def resume(account: str = MAIN_ACCOUNT) -> None:
    """End the stop and every pause. Raises GridflowError for a run of another account."""
    trading_for(account).resume_trading()
    get_run_logger().info("trading again")
