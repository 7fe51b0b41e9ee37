"""What the end of a worker does, and of its Prefect server: real workers, real flows, one Prefect server."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as sync_redis

from tasks.base.keys import Keys
from tasks.control.prefect_runs import PrefectRuns
from tests.support.prefect_stack import PrefectStack, prefect_stack
from tests.support.real_workers import RealWorker, deploy_symbols
from tests.support.servers import RestartableRedis
from tests.support.up import GRIDFLOW
from tests.support.waiting import until

SYMBOLS = ("BTC/USDT", "ETH/USDT")
KEYS = Keys("main")
PREFECT = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "gridflow", "--type", "gridflow")
BEGINS = "Beginning flow run"  # in a worker's log


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectStack]:
    """A server with the deployments of two symbols."""
    folder = tmp_path_factory.mktemp("prefect")
    with prefect_stack(folder / "state") as stack:
        deploy_symbols(stack)
        yield stack


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestartableRedis]:
    """The Redis of both tests."""
    server = RestartableRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(account: RestartableRedis) -> Iterator[sync_redis.Redis]:
    """A client of it."""
    with sync_redis.Redis.from_url(account.url, decode_responses=True) as found:
        yield found


@pytest.fixture(scope="module")
def worker(
    server: PrefectStack, account: RestartableRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealWorker]:
    """A worker started with Prefect's own command; the first test uses it, the second one ends it."""
    found = RealWorker(server, account.url, tmp_path_factory.mktemp("worker"), *PREFECT)
    yield found
    found.close()


def ticks(client: sync_redis.Redis) -> int:
    """Ticks of the first symbol so far."""
    return int(client.hget(KEYS.stats, f"ticks|{SYMBOLS[0]}") or 0)


def orders(client: sync_redis.Redis) -> list[int]:
    """Journalled orders of each symbol."""
    return [int(client.hlen(KEYS.intents(symbol))) for symbol in SYMBOLS]


def test_without_the_prefect_server_windows_run_to_their_end_and_with_it_new_ones_are_run(
    server: PrefectStack, worker: RealWorker, client: sync_redis.Redis
) -> None:
    """A window under way ticks until its time is over, and is recorded as completed once the server is back."""
    prefect = PrefectRuns(server.api)
    began = datetime.now(UTC)
    until(lambda: ticks(client) > 2, 60, "the first ticks")
    windows = worker.said.count(BEGINS)
    until(lambda: worker.said.count(BEGINS) > windows, 30, "a window to begin")
    server.kill_server()
    ticked, ended = ticks(client), worker.said.count("ended: time")
    until(lambda: ticks(client) > ticked, 30, "the running window to go on")
    until(lambda: worker.said.count("ended: time") > ended, 30, "the running window to end")
    server.start_server()
    completed = prefect.completed_since("grid-tick", began)
    until(lambda: prefect.completed_since("grid-tick", began) > completed, 60, "the window to be recorded")
    back = datetime.now(UTC)
    until(lambda: prefect.completed_since("grid-tick", back) > 0, 60, "a new window to complete")
    assert worker.process.poll() is None, worker.said
    assert "0 failed ticks" in worker.said


def test_orders_outlast_a_workers_end_unless_it_is_told_to_cancel(
    server: PrefectStack, worker: RealWorker, account: RestartableRedis, client: sync_redis.Redis, tmp_path: Path
) -> None:
    """Prefect's own worker gives its leases back and leaves the orders; --cancel-on-exit leaves none."""
    until(lambda: all(orders(client)), 60)
    cancelling = RealWorker(server, account.url, tmp_path, GRIDFLOW, "worker", "--cancel-on-exit")
    try:
        cancelling.wait_started()
        assert worker.end() == 0, worker.said
        assert all(orders(client)), "one worker's end cancelled the orders of the others"
        assert not client.hget(KEYS.funds, "holds")
        ticked = ticks(client)
        until(lambda: ticks(client) != ticked, 30)
        assert all(orders(client))

        assert cancelling.end() == 0, cancelling.said
        assert orders(client) == [0, 0]
        assert [client.exists(KEYS.lease(symbol)) for symbol in SYMBOLS] == [0, 0]
        assert not client.hget(KEYS.funds, "holds"), "the hold outlasted its owner's end"
    finally:
        cancelling.close()
