"""Where the stack's worker logs what is not Gridflow's own: Prefect's lines go to a file of their own.

Gridflow's own loggers have their own handlers (see `tasks/base/log_setup`). What other libraries say goes to the
terminal, which is `worker.log`.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from tasks.base.log_formats import ConsoleFormatter
from tasks.base.log_setup import ExpectedFaultFilter, SecretFilter

PREFECT_LOG = "prefect-worker.log"  # in the folder of the logs
_PREFECT = frozenset({"prefect", "httpx", "httpcore", "websockets", "docket"})
_NOT_PROPAGATED = "prefect._internal"  # Prefect gives it a handler for the terminal
_QUIET = ("httpx", "alembic")  # a line for each request, and for each table


def separate_prefect(folder: Path, secrets: Iterable[str]) -> None:
    """Send Prefect's lines to `folder`, and those of other libraries to the terminal; both without `secrets`.

    Call it once Prefect is imported, which sets up handlers itself. Where the file cannot be written, all lines go to
    the terminal.
    """
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    terminal = logging.StreamHandler()
    handlers: list[logging.Handler] = [terminal]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own_file = logging.FileHandler(folder / PREFECT_LOG, encoding="utf-8")  # `cap_log` keeps it small
    except OSError as error:
        logging.getLogger("gridflow.worker").warning("no log file for Prefect's lines: %s", error)
    else:
        own_file.addFilter(_is_prefects)
        terminal.addFilter(lambda record: not _is_prefects(record))
        handlers.append(own_file)
        internal = logging.getLogger(_NOT_PROPAGATED)
        internal.handlers[:], internal.propagate = [own_file], False
    hidden = SecretFilter(secrets)
    for handler in handlers:
        handler.setFormatter(ConsoleFormatter(colour=False))
        handler.addFilter(ExpectedFaultFilter())
        handler.addFilter(hidden)
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.INFO)


def _is_prefects(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _PREFECT
