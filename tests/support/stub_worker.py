"""The stack's worker process with trivial flows and a trading side that only leaves marks: for tests of `up`."""

import asyncio
from typing import Any

import redis

from flows.runtime.children import worker_ready_file
from flows.runtime.plan import Every, PlannedDeployment
from flows.runtime.stack_worker import work
from tasks.base.settings import load, state_dir
from tests.support import stub_flows

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")


def planned(seconds: float = 9) -> list[PlannedDeployment]:
    """Three windows of `seconds` every ten seconds."""
    entry = "tests.support.stub_flows.grid_tick"
    return [
        PlannedDeployment(
            "grid-tick",
            symbol.lower().replace("/", "-"),
            entry,
            {"symbol": symbol, "seconds": seconds},
            Every("window", 10, index * 3.0),
        )
        for index, symbol in enumerate(SYMBOLS)
    ]


class StubService:
    """Says through Redis what was asked of it."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(redis_url)

    def _mark(self, name: str) -> None:
        self._redis.rpush("stub:calls", name)

    def request_stop(self) -> None:
        self._mark("request_stop")
        stub_flows._stop.touch()

    def clear_stop(self) -> None:
        self._mark("clear_stop")
        stub_flows._stop.unlink(missing_ok=True)

    def graceful_stop(self) -> dict[str, Any]:
        self._mark("graceful_stop")
        return {"cancelled": 0}


def main() -> None:
    """Entry point of the process."""
    settings = load()
    assert settings.redis_url is not None
    stub_flows._stop = state_dir() / "stub.stop"
    service = StubService(settings.redis_url.get_secret_value())
    asyncio.run(work(planned(), service, worker_ready_file(state_dir()).touch))


if __name__ == "__main__":
    main()
