"""The stack's worker process with trivial flows and a trading side that only leaves marks in `calls.txt`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from flows.runtime.children import ONLY_STOP, worker_ready_file
from flows.runtime.plan import Every, PlannedDeployment
from flows.runtime.stack_worker import work
from tasks.base.keys import slug
from tasks.base.settings import load, state_dir

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
_FLOWS = "tests.support.stub_flows"


def planned() -> list[PlannedDeployment]:
    """Three windows of 9 s, every ten seconds, and one deployment of every other stub flow."""
    ticks = [
        PlannedDeployment(
            f"grid-tick/{slug(symbol)}",
            f"{_FLOWS}.grid_tick",
            {"symbol": symbol, "seconds": 9},
            Every("window", 10, index * 3.0),
        )
        for index, symbol in enumerate(SYMBOLS)
    ]
    others = [
        PlannedDeployment(f"{name}/manual", f"{_FLOWS}.{function}")
        for name, function in (
            ("write-file", "write_file"),
            ("async-write", "async_write"),
            ("fail", "fail"),
            ("leave", "leave"),
            ("long-window", "long_window"),
        )
    ]
    return [*ticks, *others]


class StubService:
    """Writes down what was asked of it; a stop is a file that the stub flows look for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _mark(self, name: str) -> None:
        with (self._folder / "calls.txt").open("a") as file:
            file.write(f"{name}\n")

    def request_stop(self) -> None:
        self._mark("request_stop")
        (self._folder / "stub.stop").touch()

    def clear_stop(self) -> None:
        self._mark("clear_stop")
        (self._folder / "stub.stop").unlink(missing_ok=True)

    def graceful_stop(self) -> dict[str, Any]:
        self._mark("graceful_stop")
        return {"open_orders": 0}


def main() -> None:
    """Entry point of the process."""
    service = StubService(state_dir())
    if ONLY_STOP in sys.argv:
        service.graceful_stop()
        return
    recycle_after = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    sys.exit(asyncio.run(work(planned(), service, worker_ready_file(state_dir()).touch, load(), recycle_after)))


if __name__ == "__main__":
    main()
