"""`logs/gridflow.log`: what an operator needs to know, in one readable file.

The stack writes what it says in the terminal; the worker and the dashboard add their own records (see `start_logging`).
All append to it, and the stack alone moves it aside when it is large (`cap_log`).
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.settings.logs import OPERATOR_LOG


class OperatorLog:
    """Prints a line and appends it to the file, with the time."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = logs / OPERATOR_LOG, say

    def __call__(self, line: str) -> None:
        """Print and write. A full disk does not keep the stack from going on."""
        self._say(line)
        if line.startswith("  …"):
            return  # progress, for who waits at the terminal
        at = f"{datetime.now(UTC).astimezone():%Y-%m-%d %H:%M:%S}"
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{at} INFO     stack {each}\n" for each in line.splitlines()))
