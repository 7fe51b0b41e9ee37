"""Logging to the terminal, to a rotating file of JSON lines, and to a capped Redis stream for the dashboard.

A record is a constant message with fields beside it. Each handler replaces secrets before it writes a record.
"""

import json
import logging
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tasks.base.errors import GridflowError
from tasks.base.keys import Keys
from tasks.base.log_context import ContextFilter
from tasks.base.log_files import open_log_file
from tasks.base.log_formats import ConsoleFormatter, JsonFormatter, fields_of
from tasks.base.redaction import Redactor
from tasks.base.redis_client import RedisClient

STREAM_CAP = 5000
_QUEUE_CAP = 2000
_COUNTS_SECONDS = 3 * 86_400
_OWN = ("tasks", "flows", "dashboard", "gridflow")
_PREFECT = ("prefect.flow_runs", "prefect.task_runs")  # what runs log, for Prefect's own pages


class SecretFilter(logging.Filter):
    """Replaces secrets by *** in a record's message, fields, traceback and stack."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._redactor = Redactor(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the secrets in the record itself. Always True: no record is dropped."""
        clean = self._redactor.text
        record.msg, record.args = clean(record.getMessage()), None
        for name, value in fields_of(record).items():
            if (shown := clean(str(value))) != str(value):
                setattr(record, name, shown)
        if record.exc_info:
            record.exc_text = clean(logging.Formatter().formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = clean(record.stack_info)
        return True


_EXPECTED = frozenset(
    {"redis", "httpx", "httpcore", "prefect", "sqlalchemy", "asyncpg", "aiosqlite", "sqlite3", "aiohttp", "ccxt"}
)


class ExpectedFaultFilter(logging.Filter):
    """Replaces the traceback of an error that is no fault of the program by a field `error`: a server that is away."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: no record is dropped."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and is_expected(error):
            record.exc_info = record.exc_text = None
            if not hasattr(record, "error"):
                record.error = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return True


def is_expected(error: BaseException) -> bool:
    """Whether the error comes from outside: Gridflow's own kinds, time-outs, the system, and servers' clients."""
    if isinstance(error, GridflowError | OSError | TimeoutError):
        return True
    return any(kind.__module__.partition(".")[0] in _EXPECTED for kind in type(error).__mro__)


class LogFile(NamedTuple):
    """Where a process writes its JSON lines, and how much is kept."""

    folder: Path
    max_bytes: int = 10_000_000
    files: int = 5


class RedisLogHandler(logging.Handler):
    """Queues Gridflow's own records until `flush_to` writes them. Logging a record never blocks and never raises."""

    def __init__(self, source: str) -> None:
        super().__init__(logging.INFO)
        self._queue: deque[dict[Any, Any]] = deque(maxlen=_QUEUE_CAP)
        self._counts: Counter[tuple[str, str]] = Counter()  # (UTC day, level) of warnings and above; none is dropped
        self._source, self._process = source, f"{socket.gethostname()}:{os.getpid()}"

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record. A full queue drops its oldest record."""
        if record.name.split(".")[0] not in _OWN:
            return
        if record.levelno >= logging.WARNING:
            self._counts[utc_day(record.created), record.levelname] += 1
        fields = {name: str(value) for name, value in fields_of(record).items()} | {"process": self._process}
        self._queue.append(
            {
                "at_ms": str(int(record.created * 1000)),
                "level": record.levelname,
                "source": self._source,
                "logger": record.name,
                "message": record.getMessage(),
                "fields": json.dumps(fields),
            }
        )

    async def flush_to(self, client: RedisClient, keys: Keys) -> None:
        """Append the queued records to the stream, and add the counts of warnings and errors, in one round trip.

        They stay queued where Redis raises an error.
        """
        batch, counts = list(self._queue), dict(self._counts)
        if not batch and not counts:
            return
        async with client.pipeline(transaction=True) as pipe:
            for entry in batch:
                pipe.xadd(keys.log, {**entry}, maxlen=STREAM_CAP, approximate=True)
            for (day, level), count in counts.items():
                pipe.hincrby(keys.counters, f"log|{level}", count)
                pipe.hincrby(keys.log_counts(day), level, count)
                pipe.expire(keys.log_counts(day), _COUNTS_SECONDS)
            await pipe.execute()
        for _ in batch:
            self._queue.popleft()
        self._counts.subtract(counts)
        self._counts = +self._counts


def utc_day(seconds: float) -> str:
    """The UTC day of a moment (seconds since the epoch): 2026-01-31."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def setup(
    secrets: Iterable[str],
    source: str,
    *,
    level: int = logging.INFO,
    file: LogFile | None = None,
    operator: Path | None = None,
) -> RedisLogHandler:
    """Send records to the terminal, to `file`, to the readable file `operator`, and to the returned handler's queue.

    `secrets`: texts that no record may show; those of the runs that Prefect stores are hidden too. `source`: the
    process, as the dashboard names it. The queue gets INFO and above, whatever `level`.
    """
    queue = RedisLogHandler(source)
    terminal = logging.StreamHandler()
    terminal.setFormatter(ConsoleFormatter(colour=sys.stderr.isatty()))
    handlers: list[logging.Handler] = [queue, terminal]
    close_files()
    if file is not None and (lines := open_log_file(file.folder, source, file.max_bytes, file.files)) is not None:
        lines.setFormatter(JsonFormatter(source))
        handlers.append(lines)
    if operator is not None:
        readable = logging.FileHandler(operator, encoding="utf-8")
        readable.setLevel(logging.INFO)
        readable.setFormatter(ConsoleFormatter(colour=False))
        handlers.append(readable)
    secret_filter = SecretFilter(secrets)
    for item in handlers:
        item.addFilter(ExpectedFaultFilter())
        item.addFilter(ContextFilter())
        item.addFilter(secret_filter)
    for name in _OWN:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = False
    for name in _PREFECT:
        logger = logging.getLogger(name)
        for old in [one for one in logger.filters if isinstance(one, SecretFilter)]:
            logger.removeFilter(old)
        logger.addFilter(secret_filter)
    return queue


def close_files() -> None:
    """Close the log file of this process, if it has one. Another process may then write to it."""
    for name in _OWN:
        for handler in logging.getLogger(name).handlers[:]:
            if isinstance(handler, logging.FileHandler):
                logging.getLogger(name).removeHandler(handler)
                handler.close()
