"""The `rebalance` flow: share the pot between the symbols, hourly or on demand."""

from functools import partial

from prefect import flow, get_run_logger

from flows.runtime import account_work
from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.parameters import Account, Force, Reason
from flows.runtime.worker.run_names import rebalance_name
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.funds.models import RebalanceReport


@flow(name="rebalance", flow_run_name=rebalance_name)
def rebalance(force: Force = False, reason: Reason = "scheduled", account: Account = MAIN_ACCOUNT) -> RebalanceReport:
    """Share the pot between the symbols. Orders follow at their symbols' next ticks.

    Raises GridflowError for a run of another account.

    Args:
        force: On, the pot is shared now. Off, only if the settings changed or a trigger asks for it.
        reason: Manual goes all the way to the target of the dynamic strategy. Scheduled goes one step.
        account: The pot that is shared. A worker refuses runs of other accounts.
    """
    report = trading_for(account).ask(partial(account_work.rebalance, force=force, reason=reason))
    logger = get_run_logger()
    logger.info("rebalance (%s): %s, version %d", report.reason, report.outcome, report.version)
    for change in report.changes:
        amounts = (change.before, change.after, change.target, change.used, change.committed)
        logger.info("%s: %s → %s (target %s, used %s, committed %s)", change.symbol, *amounts)
    return report
