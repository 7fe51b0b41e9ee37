"""Ctrl-C ends a search with what it has."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.recorded import DATA
from tests.support.up import ROOT
from tests.support.waiting import until

GRID = ("--grid", "arithmetic", "--lower", "39000", "--upper", "48000", "--cells", "19", "--quote-per-cell", "300")
RANGES = ("--sweep", "lower=30000:39990:10", "--sweep", "upper=43000:52990:10")


def worked(pid: int) -> float:
    """CPU seconds of a process's children: two need 4 to load what they need, and then play trials."""
    return sum(child.cpu_times().user for child in psutil.Process(pid).children())


def test_a_search_keeps_what_it_has_though_the_signal_comes_twice(tmp_path: Path) -> None:
    """A launcher such as `uv run` passes Ctrl-C on to a process that has it already."""
    out, progress = tmp_path / "trials.csv", tmp_path / "progress"
    command = [sys.executable, "-m", "flows.runtime.cli", "backtest", "--data", str(DATA), "--symbol", "BTC/USDT"]
    with progress.open("wb") as said:
        search = subprocess.Popen(
            [*command, *GRID, *RANGES, "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE, stderr=said
        )
        try:
            until(lambda: worked(search.pid) > 8 or search.poll() is not None, 50, "the first trials")
            search.send_signal(signal.SIGINT)
            time.sleep(0.05)
            search.send_signal(signal.SIGINT)
            shown, _ = search.communicate(timeout=30)
        finally:
            search.kill()
    assert search.returncode == 0, progress.read_text()
    assert "of 1000000 trials are done" in progress.read_text()
    assert b"played again by the exact engine" in shown
    assert len(out.read_text().splitlines()) > 1
