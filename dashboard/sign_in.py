"""Sign-in and sign-out of the pages: plain HTML without a script, and a cookie that no script can read."""

import base64
import hashlib
import re
from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from dashboard.api.problems import Problem
from dashboard.api.security import Limits, sign_in
from dashboard.gate import cookie_name, cookie_of
from dashboard.sign_in_style import STYLE
from tasks.control.access import Access, AccessDenied
from tasks.settings.model import Settings

_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",  # a browser leaves the form's Origin out without it
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_Next = Annotated[str, Query(alias="next", max_length=600)]


class Sessions:
    """The tokens in cookies. What signed out ends at once, also in tabs that are open, until this process ends."""

    def __init__(self, checker: Access) -> None:
        self._access = checker
        self._ended: set[str] = set()

    def is_valid(self, token: str) -> bool:
        """Whether the token still gives access."""
        try:
            return str(self._access.check(token)["jti"]) not in self._ended
        except AccessDenied:
            return False

    def end(self, token: str) -> None:
        """The token gives no access any more."""
        try:
            self._ended.add(str(self._access.check(token)["jti"]))
        except AccessDenied:
            return


def local_path(text: str) -> str:
    """`text` where it is a path of this server, else the first page: nobody is sent elsewhere."""
    return text if _LOCAL.fullmatch(text) and not text.startswith("/session") else "/"


def page(title: str, body: str, status: int = 200) -> Response:
    """A page of its own, in the browser's light or dark colours."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Gridflow</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><style>{STYLE}</style></head><body><main><h1>Gridflow</h1>{body}</main></body></html>'
    )
    return HTMLResponse(text, status, _HEADERS)


def _form(account: str, wanted: str, said: str = "", status: int = 200) -> Response:
    alert = f'<p class="wrong" role="alert">{escape(said)}</p>' if said else ""
    body = (
        f"<p>Account {escape(account)}. The password was shown when the dashboard first started; "
        f"<code>gridflow token --new-password</code> makes another one.</p>{alert}"
        f'<form method="post" action="/session/sign-in?next={quote(wanted, safe="")}">'
        '<label for="password">Password</label><input id="password" name="password" type="password" required '
        'maxlength="1024" autocomplete="current-password" autofocus><button type="submit">Sign in</button></form>'
    )
    return page("Sign in", body, status)


def _is_of_this_site(request: Request) -> bool:
    """Whether a form was sent by a page of this server. Browsers name the page's origin in every form they send."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _password(request: Request) -> str:
    found = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=5, keep_blank_values=True)
    return (found.get("password") or [""])[0][:1024]


def build_sessions(settings: Settings, sessions: Sessions) -> ASGIApp:
    """The routes, to be mounted at `/session`."""
    app: Any = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    account = settings.account

    @app.get("/sign-in")
    def ask(wanted: _Next = "/") -> Response:
        return _form(account, local_path(wanted))

    @app.post("/sign-in")
    async def enter(request: Request, wanted: _Next = "/") -> Response:
        wanted = local_path(wanted)
        if not _is_of_this_site(request):
            return _form(account, wanted, "The form came from another site.", 403)
        password = await _password(request)
        try:
            token, seconds = await run_in_threadpool(sign_in, request, password)
        except Problem as problem:
            answer = _form(account, wanted, f"{problem.detail[:1].upper()}{problem.detail[1:]}.", problem.status)
            answer.headers.update(
                {name: value for name, value in (problem.headers or {}).items() if name == "Retry-After"}
            )
            return answer
        reply = RedirectResponse(wanted, 303, _HEADERS)
        _set_cookie(reply, request, token, seconds)
        return reply

    @app.get("/sign-out")
    def ask_out() -> Response:
        body = '<form method="post" action="/session/sign-out"><button type="submit">Sign out</button></form>'
        return page("Sign out", body + '<p><a href="/">Back</a></p>')

    @app.post("/sign-out")
    def leave(request: Request) -> Response:
        if not _is_of_this_site(request):
            return page("Sign out", "<p>The form came from another site.</p>", 403)
        token = cookie_of(request.scope, account)
        if token is not None:
            sessions.end(token)
        reply = page("Signed out", '<p>You are signed out.</p><p><a href="/session/sign-in">Sign in again</a></p>')
        _set_cookie(reply, request, "", 0)
        return reply

    def _set_cookie(reply: Response, request: Request, token: str, seconds: int) -> None:
        reply.set_cookie(
            cookie_name(account, request.scope),
            token,
            max_age=seconds,
            path="/",
            secure=request.scope.get("scheme") == "https",
            httponly=True,
            samesite="lax",
        )

    return Limits(app, settings)
