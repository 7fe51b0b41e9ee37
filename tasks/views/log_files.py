"""Log files of a one-machine stack: their names, and pages of their lines."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.views.line_models import LogLine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KINDS = (".log", ".jsonl")
_MOST_BYTES = 32_000_000  # the newest of a longer file
_PLAIN = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?P<level>[A-Z]+) +(?P<logger>\S+) (?P<message>.*)")
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")


def log_files(state: Path) -> list[str]:
    """The names of the log files in a state folder, sorted."""
    folder = state / "logs"
    if not folder.is_dir():
        return []
    return sorted(each.name for each in folder.iterdir() if _is_log(each))


def _is_log(path: Path) -> bool:
    kinds = path.suffixes
    is_rotated = bool(kinds) and kinds[-1][1:].isdigit()
    kind = kinds[-2] if is_rotated and len(kinds) > 1 else path.suffix
    return kind in _KINDS and _NAME.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def file_lines(state: Path, name: str) -> list[LogLine]:
    """The lines of one file, the newest first. Raises LookupError for a name that `log_files` does not list."""
    if name not in log_files(state):
        raise LookupError(name)
    path = state / "logs" / name
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - _MOST_BYTES))
        text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    lines = text.splitlines()[1 if size > _MOST_BYTES else 0 :]
    return [_line(number, line, path.stem) for number, line in reversed(list(enumerate(lines))) if line.strip()]


def _line(number: int, text: str, source: str) -> LogLine:
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        found = None
    if isinstance(found, dict):
        return _of_json(number, found, source)
    plain = _PLAIN.match(text)
    if plain:
        return LogLine(
            id=str(number),
            at_ms=_ms(plain["time"]),  # local, as people read it
            level=plain["level"],
            source=source,
            logger=plain["logger"],
            message=plain["message"],
        )
    level = _LEVEL.search(text)
    return LogLine(id=str(number), at_ms=0, level=level[1] if level else "INFO", source=source, logger="", message=text)


def _of_json(number: int, found: dict[str, Any], source: str) -> LogLine:
    known = ("at", "level", "logger", "message", "source")
    return LogLine(
        id=str(number),
        at_ms=_ms(str(found.get("at", ""))),
        level=str(found.get("level", "INFO")).upper(),
        source=str(found.get("source", source)),
        logger=str(found.get("logger", "")),
        message=str(found.get("message", "")),
        fields={name: str(value) for name, value in found.items() if name not in known},
    )


def _ms(text: str) -> int:
    """0 where the text is no time. A time without a zone is this machine's."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0
