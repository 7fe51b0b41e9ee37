"""The rotating log file of a process. Processes that share a folder have a file each."""

import fcntl
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_MOST_PROCESSES = 64


class OwnFileHandler(RotatingFileHandler):
    """Writes to `<source>.jsonl`, or to `<source>-2.jsonl` and so on where another process writes to that.

    A lock beside the file marks it as taken until this process ends, however it ends.
    """

    def __init__(self, folder: Path, source: str, max_bytes: int, files: int) -> None:
        """`files`: how many are kept, the present one included. Raises OSError for a folder that cannot be written."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, self._lock = _free_file(folder, source)
        super().__init__(path, maxBytes=max_bytes, backupCount=files - 1, encoding="utf-8")

    def close(self) -> None:
        """Close the file and let another process have it."""
        super().close()
        self._lock.close()


def _free_file(folder: Path, source: str) -> tuple[Path, TextIO]:
    for number in range(1, _MOST_PROCESSES + 1):
        path = folder / (f"{source}.jsonl" if number == 1 else f"{source}-{number}.jsonl")
        lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        except OSError:
            lock.close()
            raise
        return path, lock
    raise BlockingIOError(f"{_MOST_PROCESSES} processes write logs to {folder}")


def open_log_file(folder: Path, source: str, max_bytes: int, files: int) -> OwnFileHandler | None:
    """The handler; None, with a warning, where the folder cannot be written: trading goes on without the file."""
    try:
        return OwnFileHandler(folder, source, max_bytes, files)
    except OSError as error:
        logging.getLogger("gridflow").warning("no log file: %s", error)
        return None
