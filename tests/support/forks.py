"""Processes forked from one that has imported what they need: they start within milliseconds, not a second.

A run of pytest has one such server of forks a worker. It imports this list when the first process starts.
"""

from multiprocessing import get_context

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.support.alert_worker",
        "tests.support.archive_worker",
        "tests.support.binance_worker",
        "tests.support.crash_worker",
    ]
)
