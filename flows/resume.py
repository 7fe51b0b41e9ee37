"""The `resume` flow: trade again after a graceful stop or a pause."""

from prefect import flow, get_run_logger

from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.parameters import Account
from flows.runtime.worker.run_names import name_of
from tasks.base.deployment_names import MAIN_ACCOUNT


@flow(name="resume", flow_run_name=name_of("resume"))
def resume(account: Account = MAIN_ACCOUNT) -> None:
    """End the stop and every pause. Raises GridflowError for a run of another account.

    Args:
        account: The pot that trades again. A worker refuses runs of other accounts.
    """
    trading_for(account).resume_trading()
    get_run_logger().info("trading again")
