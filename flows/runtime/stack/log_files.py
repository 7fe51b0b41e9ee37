"""The log files of the stack's processes: their names, their last lines, their size limit."""

import os
import shutil
from pathlib import Path

_MAX_LOG_BYTES = 10_000_000
_TAIL_LINES = 15


def log_files(logs: Path) -> list[str]:
    """The log files in the folder, by name."""
    return sorted(str(path) for path in logs.glob("*.log"))


def cap_log(log: Path, keep: bool = False, limit: int = _MAX_LOG_BYTES) -> None:
    """Move a log of more than `limit` bytes to `<log>.1`. Without `keep` it is copied and truncated: it may be open."""
    if not log.exists() or log.stat().st_size <= limit:
        return
    old = log.with_name(f"{log.name}.1")
    if keep:
        log.replace(old)
    else:
        shutil.copyfile(log, old)
        os.truncate(log, 0)  # children write in append mode, so the next line lands at the new end


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])
    except OSError:
        return "(no log)"
