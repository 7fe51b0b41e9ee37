"""What is known about other processes: identity that survives pid reuse, memory of a whole tree, ending them.

Reads /proc where there is one and asks `ps` elsewhere (macOS).
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_KILLED_SECONDS = 5.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Identity:
    """A process told apart from a later one with the same pid by when it started and what it runs."""

    pid: int
    started: str
    command: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of a living process; None when there is none (a zombie counts as none)."""
        found = _from_proc(pid) if _HAS_PROC else _from_ps(pid)
        return cls(pid, *found) if found else None

    def is_alive(self) -> bool:
        """Whether this very process still runs. A process that changed its title is still the same."""
        now = Identity.of(self.pid)
        return now is not None and now.started == self.started


def _stat_fields(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets


def _from_proc(pid: int) -> tuple[str, str] | None:
    fields = _stat_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    with suppress(OSError):
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
        return fields[19], raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return None


def _from_ps(pid: int) -> tuple[str, str] | None:
    asked = subprocess.run(
        ["ps", "-o", "lstart=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    line = asked.stdout.strip()
    return (line[:24], line[24:].strip()) if asked.returncode == 0 and line else None


def age_seconds() -> float:
    """How long ago this process was started (interpreter start and imports included); 0 where unknown."""
    fields = _stat_fields(os.getpid()) if _HAS_PROC else None
    if fields is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _CLOCK_TICKS)


def _nothing() -> None:
    """Done again and again while waiting."""


def end(
    identity: Identity, number: int = signal.SIGTERM, seconds: float = 10, waiting: Callable[[], None] = _nothing
) -> bool:
    """End a process that is not our child, with its whole tree: `number` first, SIGKILL after `seconds`.

    Whether the first signal was enough. `waiting` is called again and again meanwhile.
    """
    if not identity.is_alive():
        return True
    with suppress(ProcessLookupError, PermissionError):
        os.kill(identity.pid, number)
        resume(identity.pid)
    _await_end(identity, seconds, waiting)
    by_itself = not identity.is_alive()
    kill_tree(identity.pid)
    _await_end(identity, _KILLED_SECONDS)
    return by_itself


def _await_end(identity: Identity, seconds: float, waiting: Callable[[], None] = _nothing) -> None:
    deadline = time.monotonic() + seconds
    while identity.is_alive() and time.monotonic() < deadline:
        waiting()
        time.sleep(0.05)


def kill_group(leader: int) -> None:
    """SIGKILL to what is left of the process group that `leader` leads; nothing where it leads none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_tree(root: int) -> None:
    """SIGKILL to a process, its group and all its descendants, also those that lead groups of their own."""
    family = _descendants(root, _parents())[1:]  # before their parent is gone and they are another's
    kill_group(root)
    for pid in family:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def resume(pid: int) -> None:
    """Let a process that stands still by SIGSTOP go on; nothing to one that runs."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True)
class Memory:
    """Memory of one process in KiB; `pss` counts shared pages by share and is None where unknown."""

    pid: int
    name: str
    rss: int
    pss: int | None


def tree_memory(root: int) -> list[Memory]:
    """Memory of `root` and all its descendants."""
    if not _HAS_PROC:
        return _tree_from_ps(root)
    family = _descendants(root, _parents())
    return [found for pid in family if (found := _memory(pid))]


def _parents() -> dict[int, int]:
    """Every process of the machine by its parent's pid."""
    if not _HAS_PROC:
        return {pid: int(row[1]) for pid, row in _ps_table().items()}
    found = {int(entry.name): _stat_fields(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()}
    return {pid: int(fields[1]) for pid, fields in found.items() if fields}


def _descendants(root: int, parents: dict[int, int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    family = [root]
    for pid in family:  # grows while we walk it
        family += children.get(pid, [])
    return family


def _memory(pid: int) -> Memory | None:
    try:
        rss = int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_KIB
        name = (_PROC / str(pid) / "comm").read_text().strip()
    except (OSError, IndexError):
        return None
    pss = None
    with suppress(OSError, StopIteration):
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        pss = int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return Memory(pid, name, rss, pss)


def _ps_table() -> dict[int, list[str]]:
    asked = subprocess.run(["ps", "-axo", "pid=,ppid=,rss=,comm="], capture_output=True, text=True, check=False)
    rows = [line.split(None, 3) for line in asked.stdout.splitlines()]
    return {int(row[0]): row for row in rows if len(row) == 4}


def _tree_from_ps(root: int) -> list[Memory]:
    table = _ps_table()
    family = _descendants(root, _parents())
    return [Memory(pid, table[pid][3], int(table[pid][2]), None) for pid in family if pid in table]
