"""A process that starts afresh keeps its pid, its arguments and its environment."""

import subprocess
import sys

from flows.runtime.worker.renewal import give_memory_back, limit_arenas, start_afresh

_PROGRAM = """
import os, sys
from flows.runtime.worker.renewal import start_afresh
print(os.getpid(), sys.argv[1:])
if "AGAIN" not in os.environ:
    os.environ["AGAIN"] = "1"
    start_afresh()
"""


def test_a_process_starts_afresh_in_place() -> None:
    """Whoever started it sees the same process go on."""
    command = [sys.executable, "-c", _PROGRAM, "worker", "start", "--pool", "a b"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines() == [f"{process.pid} ['worker', 'start', '--pool', 'a b']"] * 2


def test_the_command_line_is_the_original_one() -> None:
    """As `python -m prefect …` was called, not what is left of it in `sys.argv`."""
    executed: list[tuple[str, list[str]]] = []
    start_afresh(lambda program, arguments: executed.append((program, arguments)))
    assert executed == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]


def test_memory_is_given_back_on_any_system() -> None:
    """Where the C library cannot, nothing happens."""
    limit_arenas()
    give_memory_back()
