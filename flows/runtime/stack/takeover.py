"""What a stack that was killed leaves running: finding it, and ending it in the usual order."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flows.runtime.stack import children
from flows.runtime.stack import record as state
from flows.runtime.stack.processes import Identity, end, kill_tree
from flows.runtime.stack.supervisor import Say

_WORKER_SECONDS = 120.0  # it cancels open orders
_SECONDS = 30.0


def left_over(folder: Path) -> state.StackRecord | None:
    """The record of a stack whose `gridflow up` is gone while processes of it live; None where there is none."""
    record = state.read(folder)
    if record is None or record.parent.is_alive() or not living(record):
        return None
    return record


def living(record: state.StackRecord) -> dict[str, Identity]:
    """The record's processes that live now, in the order in which they are ended."""
    known = [(name, record.processes.get(name)) for name in children.STOP_ORDER]
    return {name: process for name, process in known if process is not None and process.is_alive()}


def kill_left_overs(folder: Path) -> None:
    """SIGKILL to all that is left over."""
    record = left_over(folder)
    if record is not None:
        for process in living(record).values():
            kill_tree(process.pid)


def force_end(record: state.StackRecord) -> None:
    """SIGKILL to a stack: first to `gridflow up`, which would start the others again, then in the usual order."""
    if record.parent.is_alive():
        os.kill(record.parent.pid, signal.SIGKILL)
    for process in living(record).values():
        kill_tree(process.pid)


def _nobody(_what: str) -> None:
    """Say nothing while waiting."""


def end_left_overs(
    record: state.StackRecord, say: Say, seconds: float, waiting: Callable[[str], None] = _nobody
) -> bool:
    """End what lives, one after the other and within `seconds` in all; whether the worker ended by itself.

    A worker that ends by itself has cancelled its open orders; one that is gone already, or had to be killed, has not.
    """
    deadline = time.monotonic() + seconds
    in_order = False
    for name, process in living(record).items():
        say(f"Ending {name} (pid {process.pid}), left over from a stack that was killed")
        usual = _WORKER_SECONDS if name == children.WORKER else _SECONDS
        number = signal.SIGINT if name == children.POSTGRES else signal.SIGTERM
        within = max(0.0, min(usual, deadline - time.monotonic()))
        by_itself = end(process, number, within, partial(waiting, f"{name} to end"))
        in_order |= by_itself and name == children.WORKER
    return in_order
