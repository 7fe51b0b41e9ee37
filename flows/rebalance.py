"""The `rebalance` flow: share the pot anew, hourly or on demand."""

from prefect import flow, get_run_logger

from tasks.funds.models import RebalanceReport
from tasks.tick.service import service


@flow(name="rebalance")
def rebalance(force: bool = False, reason: str = "scheduled") -> RebalanceReport:
    """Share the pot between the symbols; without `force` only when something calls for it.

    With the reason "manual" the dynamic strategy goes all the way to its target, else a step.
    """
    report = service().rebalance(force, reason)
    logger = get_run_logger()
    logger.info("rebalance (%s): %s, version %d", report.reason, report.outcome, report.version)
    for change in report.changes:
        amounts = (change.before, change.after, change.target, change.used, change.committed)
        logger.info("%s: %s → %s (target %s, used %s, committed %s)", change.symbol, *amounts)
    return report
