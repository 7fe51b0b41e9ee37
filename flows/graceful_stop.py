"""The `graceful-stop` flow: stop trading and cancel what rests, until `resume`."""

from prefect import flow, get_run_logger

from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.pages import tell
from flows.runtime.worker.parameters import Account
from flows.runtime.worker.run_names import name_of
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.base.incidents import Incident
from tasks.tick.stopping import StopReport


@flow(name="graceful-stop", flow_run_name=name_of("graceful stop"))
def graceful_stop(account: Account = MAIN_ACCOUNT) -> StopReport:
    """Place no new orders, wait for those in flight, cancel open orders, book what filled.

    Raises GridflowError for a run of another account, and, with a list of them, where orders are left open.

    Args:
        account: The pot that is stopped, until the flow resume runs. A worker refuses runs of other accounts.
    """
    report = trading_for(account).stop_trading()
    get_run_logger().info("stopped: %d orders and %s reserved left", len(report.orders_open), report.reserved)
    tell([Incident.STOP_FIRED], account, None, report.as_json())
    if not report.is_clean:
        raise GridflowError(f"Trading is stopped, but {report}")
    return report
