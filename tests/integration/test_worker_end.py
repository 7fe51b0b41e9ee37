"""What the end of one worker of several does: real workers, real flows, one Prefect server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as sync_redis

from tasks.base.keys import Keys
from tests.support.prefect_stack import PrefectStack, prefect_stack
from tests.support.real_workers import RealWorker, deploy_symbols
from tests.support.up import GRIDFLOW
from tests.support.waiting import until

SYMBOLS = ("BTC/USDT", "ETH/USDT")
KEYS = Keys("main")
PREFECT = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "gridflow", "--type", "gridflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectStack]:
    """A server with the deployments of two symbols."""
    folder = tmp_path_factory.mktemp("prefect")
    with prefect_stack(folder / "state") as stack:
        deploy_symbols(stack)
        yield stack


def orders(client: sync_redis.Redis) -> list[int]:
    """Journalled orders of each symbol."""
    return [int(client.hlen(KEYS.intents(symbol))) for symbol in SYMBOLS]


def test_orders_outlast_a_workers_end_unless_it_is_told_to_cancel(
    server: PrefectStack, redis_url: str, tmp_path: Path
) -> None:
    """Prefect's own worker gives its leases back and leaves the orders; --cancel-on-exit leaves none."""
    with sync_redis.Redis.from_url(redis_url, decode_responses=True) as client:
        plain = cancelling = RealWorker(server, redis_url, tmp_path, *PREFECT)
        try:
            until(lambda: all(orders(client)), 60)
            cancelling = RealWorker(server, redis_url, tmp_path, GRIDFLOW, "worker", "--cancel-on-exit")
            cancelling.wait_started()
            assert plain.end() == 0, plain.said
            assert all(orders(client)), "one worker's end cancelled the orders of the others"
            assert not client.hget(KEYS.funds, "holds")
            ticks = client.hget(KEYS.stats, f"ticks|{SYMBOLS[0]}")
            until(lambda: client.hget(KEYS.stats, f"ticks|{SYMBOLS[0]}") != ticks, 30)
            assert all(orders(client))

            assert cancelling.end() == 0, cancelling.said
            assert orders(client) == [0, 0]
            assert [client.exists(KEYS.lease(symbol)) for symbol in SYMBOLS] == [0, 0]
            assert not client.hget(KEYS.funds, "holds"), "the hold outlasted its owner's end"
        finally:
            for worker in (plain, cancelling):
                worker.close()
