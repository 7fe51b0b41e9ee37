"""Servers and a browser for the end-to-end tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.site import Site
from tests.support.browser import chromium, open_page
from tests.support.own_loop import in_own_loop
from tests.support.prefect_stand_in import PrefectStandIn
from tests.support.seeding import archive, traded_redis
from tests.support.servers import RestartableRedis


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartableRedis]:
    """A Redis with an account that has traded; it may be stopped and started again."""
    with traded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def prefect() -> Iterator[PrefectStandIn]:
    """A stand-in for Prefect's API; not listening until a test starts it."""
    server = PrefectStandIn()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def site(
    account: RestartableRedis, prefect: PrefectStandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The dashboard under uvicorn, as `gridflow up` starts it."""
    folder: Path = tmp_path_factory.mktemp("site")
    site = Site(folder, account.url, prefect.api)
    in_own_loop(archive(account.url, site.state))
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh tab; signed in, where the test has a site."""
    with open_page(browser) as tab:
        if "site" in request.fixturenames:
            site: Site = request.getfixturevalue("site")
            name, value = site.cookie()
            tab.context.add_cookies(
                [{"name": name, "value": value, "url": site.url, "httpOnly": True, "sameSite": "Lax"}]
            )
        yield tab
