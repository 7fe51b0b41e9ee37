"""Connects the shared rate budget to a ccxt client: it grants each request and reads each response."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import ccxt

from tasks.exchange.limits.budget import Budget, BudgetExhausted
from tasks.exchange.limits.priority import current_scope
from tasks.exchange.limits.rate_headers import lower_case
from tasks.exchange.venues.registry import venue_of
from tasks.exchange.venues.venue import Response


@dataclass
class _HttpResponse:
    """Status, headers and text of one HTTP response; 0 while there was none."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


_response: ContextVar[_HttpResponse | None] = ContextVar("exchange_response", default=None)


def attach_budget(exchange: Any, budget: Budget) -> None:
    """Replace ccxt's own throttle of an async exchange: `budget` grants each request and reads each response."""
    venue = venue_of(exchange.id)
    plain_fetch, plain_on_response = exchange.fetch, exchange.on_rest_response

    async def throttle(cost: float | None = None) -> None:
        try:
            await budget.take((1 if cost is None else cost) * exchange.rateLimit)
        except BudgetExhausted as error:
            if current_scope().sent:  # a part of this call has gone out already, so its outcome is unknown
                raise ccxt.RateLimitExceeded(str(error)) from error
            raise

    def on_rest_response(code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> Any:
        response = _response.get()
        if response is not None:
            response.status, response.headers, response.body = code, dict(headers), body
        return plain_on_response(code, reason, url, method, headers, body, *rest)

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        scope = current_scope()
        scope.sent = scope.sent or method != "GET"
        response = _HttpResponse()
        token = _response.set(response)
        throttled = False
        try:
            return await plain_fetch(url, method, headers, body)
        except (ccxt.DDoSProtection, ccxt.RateLimitExceeded):
            throttled = True
            raise
        finally:
            _response.reset(token)
            named = lower_case(response.headers)
            now_ms = exchange.milliseconds()
            await budget.read_response(venue, Response(response.status, named, response.body, now_ms, throttled))

    exchange.enableRateLimit = True
    exchange.throttle, exchange.fetch, exchange.on_rest_response = throttle, fetch, on_rest_response
