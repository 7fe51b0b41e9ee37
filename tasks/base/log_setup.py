"""Logging: a constant message with fields beside it; to the terminal and to a capped Redis stream for the dashboard.

Secrets are cut out of every record before any handler sees it.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

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
        """The line, with its fields behind the message."""
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
        line = super().formatMessage(record)
        return f"{line} {fields}" if fields else line


class SecretFilter(logging.Filter):
    """Replaces every known secret by *** in the message and its fields."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record in place; always keeps it."""
        if not self._secrets:
            return True
        record.msg, record.args = self._clean(record.getMessage()), None
        for name, value in fields_of(record).items():
            setattr(record, name, self._clean(str(value)))
        if record.exc_info:
            record.exc_text = self._clean(logging.Formatter().formatException(record.exc_info))
        return True


class RedisLogHandler(logging.Handler):
    """Queues Gridflow's own records; `flush_to` writes them out. Never blocks and never fails the caller."""

    def __init__(self, source: str) -> None:
        super().__init__(logging.INFO)
        self._queue: deque[dict[Any, Any]] = deque(maxlen=_QUEUE_CAP)
        self._source = source

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record; the oldest goes when the queue is full."""
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
        """Append what is queued to the stream `key`; what could not be written stays queued."""
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
    """Send records to the terminal (unless somebody else does) and to the returned handler's queue."""
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
