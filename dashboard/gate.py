"""The gate in front of the pages: who signed in, and who need not.

One plain ASGI class for requests and web sockets alike, so that nothing of Streamlit (`/_stcore/*`, `/media/*`, the
pages) is served past it. The API and the metrics have their own rules and pass.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.guard import Origin, header, origin_of

SIGN_IN = "/session/sign-in"
_HEALTH = "/_stcore/health"
_OPEN = ("/metrics", "/api", "/session")  # what they serve has a check of its own, or needs none
_CLOSE_CODE = 1008


def cookie_name(account: str, scope: Scope) -> str:
    """The name of the cookie: browsers send one to every port of a host."""
    server = scope.get("server") or ("", None)
    return f"gridflow_{account}_{server[1] or 0}"


def cookie_of(scope: Scope, account: str) -> str | None:
    """The token in the request's cookie."""
    try:
        found = SimpleCookie(header(scope, b"cookie") or "").get(cookie_name(account, scope))
    except CookieError:
        return None
    return found.value if found else None


def has_cookie(account: str, cookies: Mapping[str, str]) -> bool:
    """Whether a browser has a cookie of this account, whatever its port."""
    return any(name.startswith(f"gridflow_{account}_") and value for name, value in cookies.items())


class Gate:
    """ASGI middleware: lets a request pass, sends it to the sign-in page, or refuses it."""

    def __init__(
        self, app: ASGIApp, *, account: str, hosts: Sequence[str], always: bool, is_valid: Callable[[str], bool]
    ) -> None:
        """`always`: this machine signs in too. `is_valid`: whether a token still gives access."""
        self._app, self._account, self._hosts = app, account, tuple(hosts)
        self._always, self._is_valid = always, is_valid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "lifespan" or scope["path"] == _HEALTH:
            await self._app(scope, receive, send)
            return
        origin = origin_of(scope, self._hosts)
        if origin in (Origin.WRONG_HOST, Origin.NO_TLS):
            await _refuse(scope, receive, send, PlainTextResponse(f"{origin.value}\n", 403))
        elif _has_own_rules(scope["path"]) or (origin is Origin.HERE and not self._always):
            await self._app(scope, receive, send)
        else:
            await self._signed_in(scope, receive, send)

    async def _signed_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = cookie_of(scope, self._account)
        if token is None or not self._is_valid(token):
            await _refuse(scope, receive, send, _sign_in_first(scope))
        elif scope["type"] == "websocket":
            await self._app(scope, self._while_valid(token, receive, send), send)
        else:
            await self._app(scope, receive, send)

    def _while_valid(self, token: str, receive: Receive, send: Send) -> Callable[[], Awaitable[Message]]:
        """`receive` of a web socket, which ends with the first message after its token has ended."""

        async def checked() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive" or self._is_valid(token):
                return message
            await send({"type": "websocket.close", "code": _CLOSE_CODE, "reason": "sign in again"})
            return {"type": "websocket.disconnect", "code": _CLOSE_CODE}

        return checked


def _has_own_rules(path: str) -> bool:
    return any(path == start or path.startswith(f"{start}/") for start in _OPEN)


def _sign_in_first(scope: Scope) -> Response:
    """A person is sent to the sign-in page, a program gets 401."""
    if scope["type"] == "http" and scope["method"] == "GET" and "text/html" in (header(scope, b"accept") or ""):
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303, {"Cache-Control": "no-store"})
    return PlainTextResponse(f"Sign in first: {SIGN_IN}\n", 401, {"Cache-Control": "no-store"})


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _CLOSE_CODE, "reason": "refused"})
    else:
        await answer(scope, receive, send)
