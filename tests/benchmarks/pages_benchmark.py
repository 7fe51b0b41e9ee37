"""CPU time of the Prefect server for a window's run, with and without the page that it shows.

Run by hand: `python -m tests.benchmarks.pages_benchmark`. Takes about half a minute. The share of a window is what the
page costs, divided by what the run costs without it.
"""

import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import psutil
from prefect import flow, get_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runtime.worker.pages import show_window
from tasks.base.incidents import Incident
from tasks.settings.model import Settings
from tasks.tick.models import WindowReport
from tests.support.prefect_stack import prefect_stack

RUNS = 10
SETTLE_SECONDS = 4.0  # the server writes events and logs in batches
QUIET = WindowReport(
    symbol="BTC/USDT", ticks=20, fills=3, placed=5, failed_ticks=0, ended="time", idle={"ABOVE_PRICE": 9}
)
BUSY = QUIET.model_copy(update={"incidents": (Incident.ORDER_UNKNOWN, Incident.LEASE_LOST)})


@flow(name="window")
def window(report: WindowReport | None) -> None:
    """A window without its trading."""
    get_run_logger().info("BTC/USDT: 20 ticks, 3 fills, 5 orders placed, 0 failed ticks; ended: time")
    if report is not None:
        show_window(Settings(), report)


def cpu(processes: list[psutil.Process]) -> float:
    """User and system seconds of these processes."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def family() -> list[psutil.Process]:
    """The server, and PostgreSQL with its connections."""
    return psutil.Process().children(recursive=True)


def measured(report: WindowReport | None) -> float:
    """CPU-seconds of the server and its database for one run."""
    before = cpu(family())
    for _ in range(RUNS):
        window(report)
    time.sleep(SETTLE_SECONDS)
    return (cpu(family()) - before) / RUNS


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory(prefix="gridflow-") as name,
        prefect_stack(Path(name) / "state") as stack,
        patch.dict(os.environ, stack.environment),
        temporary_settings({PREFECT_API_URL: stack.api}),
    ):
        measured(None)  # warms up
        plain, quiet, busy = measured(None), measured(QUIET), measured(BUSY)
    print(f"a run: {plain * 1000:.0f} ms of the server's CPU")
    for what, cost in (("a table", quiet - plain), ("a table and two events", busy - plain)):
        print(f"{what}: {cost * 1000:.0f} ms more, {cost / plain:.1%} of a run, {cost / 300:.4%} of a core at 300 s")


if __name__ == "__main__":
    main()
