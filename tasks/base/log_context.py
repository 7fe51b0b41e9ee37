"""Fields that every log line of a piece of work carries: the symbol, the tick, the flow run."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_fields: ContextVar[Mapping[str, str] | None] = ContextVar("gridflow_log_fields", default=None)


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add these fields to each record that is logged in the block, also by what it awaits."""
    token = _fields.set({**(_fields.get() or {}), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


class ContextFilter(logging.Filter):
    """Adds the fields to a record. A field that the record has already stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: no record is dropped."""
        for name, value in (_fields.get() or {}).items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True
