"""Logging to the terminal, and to a capped Redis stream for the dashboard.

A record is a constant message with fields beside it. Each handler replaces secrets before it writes a record.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from tasks.base.redaction import Redactor
from tasks.base.redis_client import RedisClient

STREAM_CAP = 5000
_QUEUE_CAP = 2000
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN = ("tasks", "flows", "dashboard", "gridflow")


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields given beside the message (`extra=`)."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class PlainFormatter(logging.Formatter):
    """`2024-01-01T00:00:00Z INFO tasks.tick message field=value`, time in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """The line: the message, then its fields."""
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
        line = super().formatMessage(record)
        return f"{line} {fields}" if fields else line


class SecretFilter(logging.Filter):
    """Replaces secrets by *** in a record's message, fields, traceback and stack, except very short ones."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._redactor = Redactor(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the secrets in the record itself. Always True: no record is dropped."""
        if not self._redactor:
            return True
        record.msg, record.args = self._redactor.text(record.getMessage()), None
        for name, value in fields_of(record).items():
            setattr(record, name, self._redactor.text(str(value)))
        if record.exc_info:
            record.exc_text = self._redactor.text(logging.Formatter().formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = self._redactor.text(record.stack_info)
        return True


class RedisLogHandler(logging.Handler):
    """Queues Gridflow's own records until `flush_to` writes them. Logging a record never blocks and never raises."""

    def __init__(self, source: str) -> None:
        super().__init__(logging.INFO)
        self._queue: deque[dict[Any, Any]] = deque(maxlen=_QUEUE_CAP)
        self._source = source

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record. A full queue drops its oldest record."""
        if record.name.split(".")[0] not in _OWN:
            return
        self._queue.append(
            {
                "at_ms": str(int(record.created * 1000)),
                "level": record.levelname,
                "source": self._source,
                "logger": record.name,
                "message": record.getMessage(),
                "fields": json.dumps({name: str(value) for name, value in fields_of(record).items()}),
            }
        )

    async def flush_to(self, client: RedisClient, key: str) -> None:
        """Append the queued records to the stream `key`. They stay queued where Redis raises an error."""
        batch = list(self._queue)
        if not batch:
            return
        async with client.pipeline(transaction=False) as pipe:
            for entry in batch:
                pipe.xadd(key, {**entry}, maxlen=STREAM_CAP, approximate=True)
            await pipe.execute()
        for _ in batch:
            self._queue.popleft()


def setup(secrets: Iterable[str], source: str, *, terminal: bool = True) -> RedisLogHandler:
    """Send records to the terminal and to the queue of the returned handler.

    `secrets`: texts that no record may show. `source`: the process, as the dashboard names it. `terminal`: False where
    another logger writes to the terminal already.
    """
    handler = RedisLogHandler(source)
    secret_filter = SecretFilter(secrets)
    handlers: list[logging.Handler] = [handler]
    if terminal:
        stream = logging.StreamHandler()
        stream.setFormatter(PlainFormatter())
        handlers.append(stream)
    for item in handlers:
        item.addFilter(secret_filter)
    for name in _OWN:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers[:] = handlers
        logger.propagate = False
    return handler
