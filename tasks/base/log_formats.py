"""How a log record is written: as a line for people, and as a line of JSON."""

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_STYLES = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold white on red"}
_LINKS = frozenset({"flow_run_url"})  # long, and of no use to who reads a terminal


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields given beside the message (`extra=`)."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def traceback_of(record: logging.LogRecord) -> str:
    """The record's traceback and stack; '' where it has none."""
    text = record.exc_text or (logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
    return "\n".join(part for part in (text, record.stack_info or "") if part)


class ConsoleFormatter(logging.Formatter):
    """`2024-01-01 00:00:00 INFO tasks.tick message field=value`: one line an event, local time, colours by rich."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it a traceback."""
        at = f"{datetime.fromtimestamp(record.created).astimezone():%Y-%m-%d %H:%M:%S}"
        named = [f"{name}={value}" for name, value in fields_of(record).items() if name not in _LINKS]
        parts = [
            (at, "dim"),
            (f"{record.levelname:8}", _STYLES.get(record.levelname, "")),
            (record.name, "cyan"),
            (" ".join(record.getMessage().splitlines()), ""),
            (" ".join(named), "dim"),
        ]
        line = _coloured(parts) if self._colour else " ".join(text for text, _ in parts if text)
        below = traceback_of(record)
        return f"{line}\n{below}" if below else line


def _coloured(parts: list[tuple[str, str]]) -> str:
    from rich.console import Console  # takes a moment, and most processes write to files
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", soft_wrap=True, highlight=False)
    console.print(Text(" ").join(Text(text, style) for text, style in parts if text), end="")
    return out.getvalue()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at (UTC), level, source, logger, message, the fields, and a traceback."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        head = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "source": self._source,
            "logger": record.name,
            "message": record.getMessage(),
        }
        below = traceback_of(record)
        fields = {name: value for name, value in fields_of(record).items() if name not in head}
        return json.dumps(head | fields | ({"traceback": below} if below else {}), default=str, ensure_ascii=False)
