"""Ending processes with all their descendants, the memory of a process tree, the age of this process."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tasks.settings.running import Identity

_KILLED_SECONDS = 5.0
_POSTGRES = "postgres"
_MIB = 1024 * 1024


def age_seconds() -> float:
    """How long ago this process was started, interpreter start and imports included."""
    created = psutil.Process().create_time()
    if sys.platform == "linux":  # psutil knows the time of boot there in whole seconds only
        return time.clock_gettime(time.CLOCK_BOOTTIME) - (created - psutil.boot_time())
    return max(0.0, time.time() - created)


def _nothing() -> None:
    """Done again and again while waiting."""


def end(
    identity: Identity, number: int = signal.SIGTERM, seconds: float = 10, on_wait: Callable[[], None] = _nothing
) -> bool:
    """End a process that is not our child, with its whole tree: signal `number` first, SIGKILL after `seconds`.

    Returns whether the first signal was enough. `on_wait` is called again and again meanwhile.
    """
    if not identity.is_alive():
        return True
    with suppress(ProcessLookupError, PermissionError):
        os.kill(identity.pid, number)
        resume(identity.pid)
    _await_end(identity, seconds, on_wait)
    by_itself = not identity.is_alive()
    kill_tree(identity.pid)
    _await_end(identity, _KILLED_SECONDS)
    return by_itself


def _await_end(identity: Identity, seconds: float, on_wait: Callable[[], None] = _nothing) -> None:
    deadline = time.monotonic() + seconds
    while identity.is_alive() and time.monotonic() < deadline:
        on_wait()
        time.sleep(0.05)


def kill_tree(root: int) -> None:
    """SIGKILL to a process, its group and all its descendants, also those that lead groups of their own."""
    family = _tree(root)[1:]  # read before the parent is gone and they become another's children
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(root, signal.SIGKILL)
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def resume(pid: int) -> None:
    """Let a process that was stopped by SIGSTOP go on; does nothing to one that runs."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGCONT)


def tree_memory_mib(root: int) -> float:
    """Resident memory (RSS) of a process and all its descendants, in MiB; PostgreSQL's shared memory counts once.

    Each PostgreSQL process maps the same buffers, so those processes count by their proportional share (PSS) where the
    system tells it, which is Linux.
    """
    return sum(_memory(process) for process in _tree(root)) / _MIB


def _tree(root: int) -> list[psutil.Process]:
    """The process and its descendants, it first; nothing where it is gone."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    """Bytes; 0 for a process that is gone."""
    try:
        if process.name() == _POSTGRES:
            with suppress(psutil.AccessDenied):
                whole = process.memory_full_info()
                return int(getattr(whole, "pss", whole.rss))
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
