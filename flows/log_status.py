"""The `log-status` flow: write the state of trading to the run's log and audit the pot."""

from prefect import flow, get_run_logger

from flows.runtime.worker.account_check import trading_for
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.views.models import StatusView
from tasks.views.steps import record_equity


@flow(name="log-status")
def log_status(account: str = MAIN_ACCOUNT) -> StatusView:
    """Read the views, store a point of the equity curve, audit the pot, and log all of it.

    Raises GridflowError for a run of another account.
    """
    trading = trading_for(account)
    view = trading.run(record_equity(trading.settings, trading.desk))
    report = trading.run(trading.watch_drift())
    logger = get_run_logger()
    logger.info("equity %s, profit %s (grid %s, floating %s, fees %s)", *view.totals())
    for symbol in view.symbols:
        logger.info("%s: equity change %s, committed %s", symbol.symbol, symbol.equity_change, symbol.committed)
    for one in report.drift:
        logger.error("%s: %s (found %s, expected %s)", one.subject, one.cause.value, one.found, one.expected)
    return view
