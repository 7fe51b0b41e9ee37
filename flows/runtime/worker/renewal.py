"""A worker's process that runs the engine slowly grows. What keeps it small, and how a drained one starts afresh."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

RECYCLE_AFTER = 10_000  # runs, some days with a few symbols; a run leaves a few KB that are never freed
_M_ARENA_MAX = -8  # see mallopt(3)
_ARENAS = 2  # as MALLOC_ARENA_MAX in the one-machine stack


def limit_arenas() -> None:
    """Have malloc use few arenas. By default it has many, and the thread of each run leaves holes in another one."""
    if allocator := _glibc():
        allocator.mallopt(_M_ARENA_MAX, _ARENAS)


def give_memory_back() -> None:
    """Return freed memory to the system; a few milliseconds."""
    if allocator := _glibc():
        allocator.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, where it is glibc; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


def start_afresh(execute: Callable[[str, list[str]], object] = os.execv) -> None:
    """Replace this process by a new one with the same command line. Its pid, environment and parent stay."""
    sys.stdout.flush()
    sys.stderr.flush()
    execute(sys.executable, [sys.executable, *sys.orig_argv[1:]])
