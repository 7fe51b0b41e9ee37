"""What is listed line by line: events, actions, log lines, refusals, points of the equity curve. Money in quote."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import Field

from tasks.base.events import EventKind
from tasks.base.money import ZERO
from tasks.exchange.models import Frozen
from tasks.views.view import View


class EquityPoint(View):
    """Equity of the account at one moment."""

    at_ms: int
    equity: Decimal
    grid_profit: Decimal
    capital: Decimal = ZERO  # the account's capital then; 0 where an earlier version wrote the point


class EventView(Frozen):
    """One domain event; `body` is its JSON. `type` is plain text where a later version published it."""

    id: str
    at_ms: int
    type: EventKind | str
    body: str


class BlockedView(View):
    """One refused reservation."""

    at_ms: int
    symbol: str
    reason: str
    amount: Decimal
    order_id: str


class ActionView(View):
    """What an operator did. `actor`: cli, dashboard, prefect or telegram. `subject`: of what, '' for the whole pot."""

    at_ms: int
    actor: str
    action: str
    subject: str
    result: str


class LogLine(Frozen):
    """One log record."""

    id: str
    at_ms: int
    level: str
    source: str
    logger: str
    message: str
    fields: Mapping[str, str] = Field(default_factory=dict)
