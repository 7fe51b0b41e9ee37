"""Who may use the API: Bearer tokens, and limits on how often a client may ask or try a password."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from math import ceil
from time import time
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.api.problems import Problem, problem
from dashboard.connection import reader
from tasks.control.access import Access, AccessDenied
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings

_MOST_BYTES = 64 * 1024  # of a request's body
_TRIES = (RateLimitItemPerMinute(5), RateLimitItemPerHour(30))  # of passwords, by client
_TRIES_OF_ALL = RateLimitItemPerHour(300)
_REALM = {"WWW-Authenticate": 'Bearer realm="gridflow"'}
_INVALID = {"WWW-Authenticate": 'Bearer realm="gridflow", error="invalid_token"'}


@cache
def access() -> Access:
    """Who may use this account. The settings are those of the process."""
    return Access(reader().settings, state_dir())


@cache
def _tries() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())


def client_of(scope: Scope) -> str:
    """The client's address. Behind a proxy, the server's own settings decide whom it trusts to name it."""
    return scope["client"][0] if scope.get("client") else "local"


def sign_in(request: Request, password: str) -> tuple[str, int]:
    """(token, seconds it lasts). Raises Problem: 401 for a wrong password, 429 after too many of them."""
    client, limiter = client_of(request.scope), _tries()
    limits = [*((one, ("password", client)) for one in _TRIES), (_TRIES_OF_ALL, ("password", "all"))]
    for limit, key in limits:
        if not limiter.test(limit, *key):
            wait = max(ceil(limiter.get_window_stats(limit, *key).reset_time - time()), 1)
            raise Problem(429, "too many wrong passwords; try again later", {"Retry-After": str(wait)})
    lasts = timedelta(hours=float(reader().settings.dashboard.token_hours))
    try:
        token = access().sign_in(password, lasts)
    except AccessDenied as error:
        for limit, key in limits:
            limiter.hit(limit, *key)
        raise Problem(401, str(error), _REALM) from None
    return token.text, int(lasts.total_seconds())


def _checked(token: str | None) -> Mapping[str, Any]:
    if not token:
        raise Problem(401, "a token is needed: Authorization: Bearer …", _REALM)
    try:
        return access().check(token)
    except AccessDenied as error:
        raise Problem(401, str(error), _INVALID) from None


_BEARER = HTTPBearer(auto_error=False, description="a token of POST /api/auth/token or `gridflow token`")


def operator(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Mapping[str, Any]:
    """The claims of the request's Bearer token. Raises Problem 401."""
    return _checked(given.credentials if given else None)


def listener(
    token: Annotated[str | None, Query(description="the token, for clients that cannot set headers")] = None,
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Mapping[str, Any]:
    """The claims of the token of a request for an event stream; it may stand in the query. Raises Problem 401."""
    kind, _, given = (authorization or "").partition(" ")
    return _checked(given.strip() if kind.lower() == "bearer" else token)


class Limits:
    """ASGI middleware: 429 for a client that asks too often, 413 for a body that is too long."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.dashboard.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_of(scope)
        if not self._limiter.hit(self._limit, client):
            wait = max(ceil(self._limiter.get_window_stats(self._limit, client).reset_time - time()), 1)
            said = f"more than {self._limit.amount} requests in a minute"
            await problem(429, said, {"Retry-After": str(wait)})(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _MOST_BYTES or b"chunked" in headers.get(b"transfer-encoding", b""):
            await problem(413, f"a body has at most {_MOST_BYTES} bytes and names its length")(scope, receive, send)
            return
        await self._app(scope, receive, send)


class TokensOutOfAccessLogs(logging.Filter):
    """Takes tokens in a query out of the lines that uvicorn writes for each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the line stays."""
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(one) if isinstance(one, str) else one for one in record.args)
        return True


def _without_query(text: str) -> str:
    path, mark, query = text.partition("?")
    return f"{path}?…" if mark and "token=" in query else text
