"""The stack's worker process with trivial flows and a trading side that only leaves marks in `calls.txt`."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

from flows.runtime.stack.children import ONLY_STOP, worker_ready_file
from flows.runtime.stack.worker_process import work, write_stop
from flows.runtime.worker.deployments import Every, PlannedDeployment
from tasks.base.keys import slug
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.tick.stopping import StopReport

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

    def open(self) -> None:
        self._mark("open")
        (self._folder / "stub.stop").unlink(missing_ok=True)

    def graceful_stop(self) -> StopReport:
        self._mark("graceful_stop")
        return StopReport(orders_open=(), reserved=Decimal(0))

    def end_with_orders(self) -> StopReport:
        self._mark("end_with_orders")
        return StopReport(orders_open=(), reserved=Decimal(0))

    def beat(self, file: Path) -> None:
        """Its trading side has no loop."""


def main() -> None:
    """Entry point of the process."""
    service = StubService(state_dir())
    if ONLY_STOP in sys.argv:
        sys.exit(write_stop(service.graceful_stop()))
    recycle_after = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    sys.exit(asyncio.run(work(planned, service, worker_ready_file(state_dir()).touch, load(), recycle_after)))


if __name__ == "__main__":
    main()
