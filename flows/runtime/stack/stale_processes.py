"""Processes that a killed `gridflow up` left running: ending them in the usual order, or killing them."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flows.runtime.stack import children
from flows.runtime.stack.processes import end, kill_tree
from flows.runtime.stack.supervisor import Say
from tasks.settings.running import Identity, StackRecord, stale_stack

_WORKER_SECONDS = 120.0  # it cancels open orders
_SECONDS = 30.0


def living_in_order(record: StackRecord) -> dict[str, Identity]:
    """The record's processes that are alive now, in the order in which they are ended."""
    living = record.living()
    return {name: living[name] for name in children.STOP_ORDER if name in living}


def kill_stale_processes(folder: Path) -> None:
    """SIGKILL to every process that a killed stack left running on this state folder."""
    record = stale_stack(folder)
    if record is not None:
        _kill(record)


def kill_stack(record: StackRecord) -> None:
    """SIGKILL to a stack: first to `gridflow up`, which would start the others again, then in the usual order."""
    if record.is_running:
        os.kill(record.parent.pid, signal.SIGKILL)
    _kill(record)


def _kill(record: StackRecord) -> None:
    for process in living_in_order(record).values():
        kill_tree(process.pid)


def _no_progress(_what: str) -> None:
    """Report nothing while waiting."""


def end_stale_processes(
    record: StackRecord, say: Say, seconds: float, on_wait: Callable[[str], None] = _no_progress
) -> bool:
    """End them one after the other, within `seconds` in all; whether the worker ended by itself.

    A worker that ends by itself has cancelled its open orders. One that is gone already, or had to be killed, has not.
    `on_wait` is called again and again with what is waited for.
    """
    deadline = time.monotonic() + seconds
    in_order = False
    for name, process in living_in_order(record).items():
        say(f"Ending {name} (pid {process.pid}), left over from a stack that was killed")
        usual = _WORKER_SECONDS if name == children.WORKER else _SECONDS
        number = signal.SIGINT if name == children.POSTGRES else signal.SIGTERM
        within = max(0.0, min(usual, deadline - time.monotonic()))
        by_itself = end(process, number, within, partial(on_wait, f"{name} to end"))
        in_order |= by_itself and name == children.WORKER
    return in_order
