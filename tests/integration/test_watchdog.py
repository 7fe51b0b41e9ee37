"""A trading side that stalls ends its process, which says why; real processes."""

import subprocess
import sys
import time

import pytest

from tasks.tick.watchdog import EXIT_STALLED
from tests.support.up import ROOT


def stalled(redis_url: str, kind: str) -> "subprocess.CompletedProcess[str]":
    """The worker's end."""
    command = [sys.executable, "-m", "tests.support.stalling_worker", redis_url, kind]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.parametrize(
    ("kind", "why", "where"),
    [
        ("loop", "the trading loop has not run for 1 s", "in block"),
        ("dead", "the trading loop has ended", "in stall"),
        ("tick", "BTC/USDT: no tick, 0 s after the last moment for one", "in wait_for_ever"),
    ],
)
def test_a_worker_that_stalls_ends_with_the_reason(redis_url: str, kind: str, why: str, where: str) -> None:
    """Its own exit code, the reason, and where every thread and task stood."""
    begun = time.monotonic()
    ended = stalled(redis_url, kind)
    assert ended.returncode == EXIT_STALLED, ended.stderr
    assert f"Trading has stalled: {why}. The worker exits so that it can be restarted." in ended.stderr
    assert where in ended.stderr
    assert "trading-watchdog" in ended.stderr or "most recent call" in ended.stderr
    assert time.monotonic() - begun < 30


def test_only_a_worker_that_wants_it_is_watched(redis_url: str) -> None:
    """A command whose loop is busy for as long ends as it always did."""
    ended = stalled(redis_url, "off")
    assert (ended.returncode, "stalled" in ended.stderr) == (0, False), ended.stderr
