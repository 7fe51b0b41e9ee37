"""The `log-status` flow: tell the state of trading, audit the pot, prune the history."""

import logging
from logging import Logger, LoggerAdapter
from typing import Any

from prefect import flow, get_run_logger

from flows.runtime import account_work
from flows.runtime.trading import TradingService
from flows.runtime.worker.account_check import trading_for
from flows.runtime.worker.pages import show_day, show_status, tell
from flows.runtime.worker.parameters import Account
from flows.runtime.worker.run_names import name_of
from tasks.base.deployment_names import MAIN_ACCOUNT
from tasks.base.errors import GridflowError
from tasks.base.incidents import Incident
from tasks.views.models import StatusView
from tasks.views.prefect_pages import status_line
from tasks.views.rules import has_usage_drift

_log = logging.getLogger(__name__)  # a run's own logger writes for Prefect's pages


def _prune(trading: TradingService, logger: Logger | LoggerAdapter[Any]) -> None:
    """Delete old rows of the history. The next run tries again where the database is away."""
    try:
        pruned = trading.run(trading.prune_history())
    except GridflowError as error:
        logger.warning("the history was not pruned: %s", error)
        _log.warning("the history was not pruned", extra={"error": str(error)})
        return
    if pruned:
        logger.info("deleted from the history: %s", ", ".join(f"{count} {name}" for name, count in pruned.items()))


@flow(name="log-status", flow_run_name=name_of("status"))
def log_status(account: Account = MAIN_ACCOUNT) -> StatusView:
    """Log the account's state in one line, show it as a table, and audit the pot against the exchange.

    Raises GridflowError for a run of another account.

    Args:
        account: The pot. A worker refuses runs of other accounts.
    """
    trading = trading_for(account)
    view = trading.ask(account_work.status)
    report = trading.ask(account_work.watch_drift)
    logger = get_run_logger()
    logger.info(status_line(view))
    for symbol in view.symbols:
        logger.info("%s: equity change %s, committed %s", symbol.symbol, symbol.equity_change, symbol.committed)
    show_status(trading.settings, view)
    show_day(trading, view)
    _prune(trading, logger)
    for one in report.drift:
        logger.error("%s: %s (found %s, expected %s)", one.subject, one.cause.value, one.found, one.expected)
    incidents = [Incident.FUNDS_DRIFT] if report.drift else []
    incidents += [Incident.USAGE_DRIFT] if has_usage_drift(view) else []
    tell(incidents, account, None, {"differences": [str(one) for one in report.drift]})
    return view
