"""Runs trials in parallel processes, a few at a time in flight, and stops cleanly when interrupted."""

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice

from tasks.backtest.trial import Job, Trial, run_trial

_CHUNK = 20  # trials in one message
_job: Job | None = None


def _start(job: Job) -> None:
    """Keep the job in a worker process. Ctrl-C is for the process that started it."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = job


def _run(many: list[Mapping[str, str]]) -> list[Trial]:
    assert _job is not None
    return [run_trial(_job, values) for values in many]


def run_trials(job: Job, values: Iterable[Mapping[str, str]], processes: int | None = None) -> Iterator[Trial]:
    """Every trial, in the order in which they end. Close the iterator to stop: what runs is given up.

    `processes`: 1 runs them in this process; None: one for each processor.
    """
    count = processes or os.cpu_count() or 1
    left = iter(values)
    if count == 1:
        yield from (run_trial(job, one) for one in left)
        return
    pool = ProcessPoolExecutor(count, initializer=_start, initargs=(job,))
    try:
        running: set[Future[list[Trial]]] = set()
        while True:
            while len(running) < 2 * count and (chunk := list(islice(left, _CHUNK))):
                running.add(pool.submit(_run, chunk))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
