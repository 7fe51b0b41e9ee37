"""Writing `stack.json`, which `tasks.settings.running` reads, and the lock that one stack holds on a state folder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tasks.base.errors import StackError
from tasks.settings.running import StackRecord, record_path, running_stack


def write(state: Path, record: StackRecord) -> None:
    """Replace the record in one step: a reader sees the old one or the new one, never half."""
    fresh = state / f"stack.json.{os.getpid()}"
    fresh.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    fresh.replace(record_path(state))


@contextmanager
def sole_owner(state: Path) -> Iterator[None]:
    """Hold the lock of the state folder. Raises StackError, with the URLs, while another stack holds it."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(_already_running(state)) from None
        yield


def _already_running(state: Path) -> str:
    record = running_stack(state)
    if record is None:
        return f"A stack is starting or stopping on {state}. Try again in a few seconds"
    lines = [f"  {name}: {url}" for name, url in record.urls.items() if url]
    head = f"A stack already runs on {state} (pid {record.parent.pid}). Stop it with `gridflow stop`"
    return "\n".join([head, *lines])
