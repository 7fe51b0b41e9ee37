"""The `rebalance` flow: share the pot between the symbols, hourly or on demand."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from flows.runtime.worker.account_check import trading_for
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.funds.models import RebalanceReport

Reason = Annotated[str, Field(max_length=200)]


@flow(name="rebalance")
def rebalance(force: bool = False, reason: Reason = "scheduled", account: str = MAIN_ACCOUNT) -> RebalanceReport:
    """Share the pot between the symbols; without `force` only if an operator's input changed or a trigger fires.

    With the reason "manual" the dynamic strategy goes all the way to its target, otherwise one step.
    Raises GridflowError for a run of another account.
    """
    report = trading_for(account).rebalance(force, reason)
    logger = get_run_logger()
    logger.info("rebalance (%s): %s, version %d", report.reason, report.outcome, report.version)
    for change in report.changes:
        amounts = (change.before, change.after, change.target, change.used, change.committed)
        logger.info("%s: %s → %s (target %s, used %s, committed %s)", change.symbol, *amounts)
    return report
