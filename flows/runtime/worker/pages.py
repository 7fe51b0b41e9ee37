"""What flows show in the Prefect UI: artifacts and events. A window: at most one artifact and three events.

Trading never waits for it: where the server is away, the run says so in its log and ends as it would have.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events.utilities import emit_event
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_UI_URL

from flows.runtime.account_work import report_due, report_failed
from flows.runtime.trading import TradingService
from tasks.base.clock import DAY_MS
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import GridflowError
from tasks.base.incidents import Incident
from tasks.base.keys import slug
from tasks.ledger.periods import Bucket
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.running import dashboard_url
from tasks.tick.models import WindowReport
from tasks.views.history import opened_history, results
from tasks.views.models import StatusView
from tasks.views.prefect_pages import daily_report, grid_key, links, status_rows, window_rows

log = logging.getLogger(__name__)
MOST_EVENTS = 3
STATUS_KEY, DAILY_KEY = "status", "daily-report"


@contextmanager
def _prefect_may_be_away() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError) as error:
        log.warning("Prefect did not take a page", extra={"error": str(error) or type(error).__name__})


def show_window(settings: Settings, report: WindowReport) -> None:
    """A window's table under the key of its symbol, and its incidents. A window without a tick shows nothing."""
    if report.ticks or report.failed_ticks:
        key = grid_key(slug(report.symbol))
        _show_table(settings, key, window_rows(report), report.symbol)
    facts = {"symbol": report.symbol, "ticks": report.ticks, "ended": report.ended}
    tell(report.incidents, settings.account, report.symbol, facts)


def show_status(settings: Settings, view: StatusView) -> None:
    """The account's table."""
    _show_table(settings, STATUS_KEY, status_rows(view), None)


def show_day(trading: TradingService, view: StatusView) -> None:
    """Yesterday's report as Markdown, once a day, from the history."""
    settings = trading.settings
    key = DeploymentNames(settings.account).own(DAILY_KEY)
    day = trading.ask(report_due)
    if day is None:
        return
    try:
        text = asyncio.run(_day_text(settings, view, day))
    except GridflowError as error:
        log.warning("no daily report", extra={"error": str(error)})
        text = None
    shown = False
    if text is not None:
        with _prefect_may_be_away():
            create_markdown_artifact(text, key, links(None, dashboard_url(settings), PREFECT_UI_URL.value(), key))
            shown = True
    if not shown:
        trading.ask(partial(report_failed, day=day))


async def _day_text(settings: Settings, view: StatusView, day: Bucket) -> str | None:
    async with opened_history(settings, state_dir()) as database:
        if database is None:
            return None
        ask = partial(results, database, settings.account, end_ms=day.end_ms, capital=view.capital)
        one = await ask(name="day", start_ms=day.start_ms)
        month = await ask(name="30 days", start_ms=day.end_ms - 30 * DAY_MS)
        return daily_report(one, month, view)


def _show_table(settings: Settings, key: str, rows: Sequence[Mapping[str, Any]], symbol: str | None) -> None:
    """Publish a table; its page in the UI keeps every version."""
    own = DeploymentNames(settings.account).own(key)
    described = links(symbol, dashboard_url(settings), PREFECT_UI_URL.value(), own)
    with _prefect_may_be_away():
        create_table_artifact([dict(row) for row in rows], own, described)


def tell(incidents: Sequence[Incident], account: str, symbol: str | None, facts: Mapping[str, Any]) -> None:
    """Emit an event for each incident, three at most, for Prefect's automations. `symbol`: None for the whole pot."""
    kind, name = ("symbol", slug(symbol)) if symbol else ("account", account)
    resource = {
        "prefect.resource.id": f"gridflow.{kind}.{DeploymentNames(account).own(name) if symbol else name}",
        "prefect.resource.name": symbol or account,
        "gridflow.account": account,
    }
    for incident in list(dict.fromkeys(incidents))[:MOST_EVENTS]:
        with _prefect_may_be_away():
            emit_event(incident.value, resource, payload=dict(facts))
