"""Signing in to the pages and out again, over the gate and the routes, without a browser."""

from collections.abc import AsyncIterator, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from dashboard import connection
from dashboard.api import security
from dashboard.connection import Reader
from dashboard.gate import Gate
from dashboard.sign_in import Sessions, build_sessions
from tasks.control.access import Access
from tasks.settings.model import Settings

PASSWORD = "correct horse battery"
HOST = "https://grid.example.org"
PERSON = {"accept": "text/html"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a password; limits of attempts are new."""
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    settings = Settings.model_validate({"dashboard": {"password": PASSWORD, "hosts": ["grid.example.org"]}})
    connection._readers[:] = [Reader(settings)]
    for cached in (security.access, security._tries):
        cached.cache_clear()
    yield settings
    connection._readers[0].close()
    connection._readers.clear()


@pytest.fixture
async def browser(own: Settings, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client from elsewhere, over TLS, that keeps cookies and follows nothing by itself."""
    access = Access(own, tmp_path)
    access.begin()
    sessions = Sessions(access)

    async def pages(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("the pages")

    routes = [Mount("/session", build_sessions(own, sessions)), Route("/{path:path}", pages)]
    gate = Gate(
        Starlette(routes=routes), account="main", hosts=own.dashboard.hosts, always=False, is_valid=sessions.is_valid
    )
    transport = httpx.ASGITransport(gate, client=("192.0.2.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        yield client


async def enter(browser: httpx.AsyncClient, password: str, **headers: str) -> httpx.Response:
    """Send the form, as a browser does."""
    body = {"password": password}
    return await browser.post("/session/sign-in?next=%2Ftrades", data=body, headers={"origin": HOST} | headers)


async def test_the_password_opens_the_pages_until_the_sign_out(browser: httpx.AsyncClient) -> None:
    """By a cookie that no script can read and no other site sends; signed out, the same cookie opens nothing."""
    sent = await browser.get("/trades?side=buy", headers=PERSON)
    assert (sent.status_code, sent.headers["location"]) == (303, "/session/sign-in?next=%2Ftrades%3Fside%3Dbuy")
    form = await browser.get(sent.headers["location"])
    assert 'autocomplete="current-password"' in form.text
    assert "next=%2Ftrades%3Fside%3Dbuy" in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    entered = await enter(browser, PASSWORD)
    assert (entered.status_code, entered.headers["location"]) == (303, "/trades")
    (cookie,) = SimpleCookie(entered.headers["set-cookie"]).values()
    assert cookie.key.startswith("gridflow_main_")
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["samesite"].lower() == "lax"
    assert int(cookie["max-age"]) == 12 * 3600
    assert (await browser.get("/trades")).text == "the pages"
    kept = {"cookie": f"{cookie.key}={cookie.value}"}
    left = await browser.post("/session/sign-out", headers={"origin": HOST})
    assert "signed out" in left.text
    browser.cookies.clear()
    assert (await browser.get("/trades", headers=kept)).status_code == 401, "a copy of the cookie has ended too"


async def test_wrong_passwords_are_limited_as_those_of_tokens(browser: httpx.AsyncClient) -> None:
    """Five in a minute, then a right one waits too; the page says so, and repeats no password."""
    for _ in range(5):
        refused = await enter(browser, "not <this> one")
        assert refused.status_code == 401
        assert 'role="alert"' in refused.text
        assert "<this>" not in refused.text
        assert "set-cookie" not in refused.headers
    late = await enter(browser, PASSWORD)
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 60
    assert "set-cookie" not in late.headers


async def test_a_form_of_another_site_signs_nobody_in_or_out(browser: httpx.AsyncClient) -> None:
    """Browsers name the site that a form comes from."""
    assert (await enter(browser, PASSWORD, origin="https://evil.example")).status_code == 403
    await enter(browser, PASSWORD)
    out = await browser.post("/session/sign-out", headers={"origin": "https://evil.example"})
    assert out.status_code == 403
    assert (await browser.get("/")).text == "the pages"


async def test_a_new_password_ends_every_session(browser: httpx.AsyncClient, own: Settings, tmp_path: Path) -> None:
    """As it ends every token; and what is no form is a wrong password."""
    await enter(browser, PASSWORD)
    assert (await browser.get("/")).status_code == 200
    Access(own, tmp_path).revoke_all()
    assert (await browser.get("/")).status_code == 401
    odd = await browser.post("/session/sign-in", content=b"\xff\x00&&==", headers={"origin": HOST})
    assert odd.status_code == 401
    assert (await browser.post("/session/sign-in", content=b"x" * 70_000)).status_code == 413
