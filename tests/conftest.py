"""Fixtures every test may use."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import hypothesis
import pytest
import redis as sync_redis

from tasks.base.redis_client import RedisClient, connect
from tests.support.guardian import guard
from tests.support.prefect_database import RUN_FOLDER
from tests.support.servers import debian_redis, expect_server, redis_server
from tests.support.virtual.loop import VirtualLoop

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every process of a test would compile Prefect and ccxt anew
hypothesis.settings.register_profile("gridflow", deadline=None)  # a busy machine is slow, and that is no fault
hypothesis.settings.load_profile("gridflow")

LONGEST_FIRST = (
    "test_without_prefect",
    "test_hung",
    "test_fault_runs",
    "test_runtime_prefect",
    "test_main_job",
    "test_runtime_overdue",
    "test_runtime_up",
    "test_runtime_stop",
    "test_interrupted",
    "test_worker_end",
    "test_outages",
    "test_funds_race",
    "test_funds_machine",
    "test_crash",
    "test_dashboard",
    "test_redis_failover",
    "test_archiver",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """However the run ends, no process of it is left."""
    if not hasattr(config, "workerinput"):  # xdist's workers are below a guardian already
        guard()


@pytest.fixture(scope="session", autouse=True)
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where tests of all workers keep what they share."""
    own = tmp_path_factory.getbasetemp()
    os.environ[RUN_FOLDER] = str(own.parent if hasattr(request.config, "workerinput") else own)


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of this machine reaches a test, and what a command puts into the environment ends with its test.

    Each test has a state folder of its own, with its own history.
    """
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("GRIDFLOW_")]:
        del os.environ[name]
    os.environ["GRIDFLOW_STATE"] = str(tmp_path_factory.mktemp("state"))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def quick_close() -> None:
    """After a close ccxt waits 250 ms for TLS, which loopback has not. Where ccxt is not needed, it is not imported."""
    if ccxt := sys.modules.get("ccxt.async_support"):
        ccxt.Exchange.timeout_on_exit = 10


@pytest.fixture(scope="session")
def redis_session_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one real server for the whole session."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_session_url: str) -> str:
    """URL of the session's server, emptied for this test."""
    with sync_redis.Redis.from_url(redis_session_url) as client:
        client.flushall()
    return redis_session_url


@pytest.fixture(scope="session")
def redis_7_session_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one real server of Debian's Redis 7 for the whole session; its absence is a failure."""
    with redis_server(tmp_path_factory.mktemp("redis-7"), debian_redis()) as url:
        yield url


@pytest.fixture(params=["valkey-9", "redis-7"])
def either_redis_url(request: pytest.FixtureRequest) -> str:
    """URL of an emptied server of each kind that Gridflow must run on; the test runs once on each."""
    kind = str(request.param)
    session = "redis_session_url" if kind == "valkey-9" else "redis_7_session_url"
    url = str(request.getfixturevalue(session))
    expect_server(url, kind)
    with sync_redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    """An async client on an empty server."""
    client = connect(redis_url)
    yield client
    await client.aclose()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests marked `virtual_time` run in an event loop whose time passes only when nothing else is left to do."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual time": VirtualLoop}
    return {"real time": asyncio.new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    """--long: the by-hand profile of the randomised tests, ten times CI's."""
    parser.addoption("--seed", type=int, default=None, help="play one fault scenario again")
    parser.addoption("--long", action="store_true", help="run the randomised tests ten times as long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The files that take longest come first. The long profile takes as long as it takes."""
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.stem) if item.path.stem in LONGEST_FIRST else 99)
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)
