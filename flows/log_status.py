"""The `log-status` flow: write the state of trading to the run's log, audit the pot, prune the history."""

from logging import Logger, LoggerAdapter
from typing import Any

from prefect import flow, get_run_logger

from flows.runtime.trading import TradingService
from flows.runtime.worker.account_check import trading_for
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.views.models import StatusView


def _prune(trading: TradingService, logger: Logger | LoggerAdapter[Any]) -> None:
    """Delete old rows of the history. The next run tries again where the database is away."""
    try:
        pruned = trading.run(trading.prune_history())
    except GridflowError as error:
        logger.warning("the history was not pruned: %s", error)
        return
    if pruned:
        logger.info("deleted from the history: %s", ", ".join(f"{count} {name}" for name, count in pruned.items()))


@flow(name="log-status")
def log_status(account: str = MAIN_ACCOUNT) -> StatusView:
    """Read the views, audit the pot, and log both.

    Raises GridflowError for a run of another account.
    """
    trading = trading_for(account)
    view = trading.run(trading.status())
    report = trading.run(trading.watch_drift())
    logger = get_run_logger()
    logger.info("equity %s, profit %s (grid %s, floating %s, fees %s)", *view.totals())
    for symbol in view.symbols:
        logger.info("%s: equity change %s, committed %s", symbol.symbol, symbol.equity_change, symbol.committed)
    _prune(trading, logger)
    for one in report.drift:
        logger.error("%s: %s (found %s, expected %s)", one.subject, one.cause.value, one.found, one.expected)
    return view
