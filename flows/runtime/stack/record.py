"""What a running stack writes down for others: `stack.json`, and the lock that says it runs."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.runtime.stack.processes import Identity
from tasks.base.errors import StackError


@dataclass
class StackRecord:
    """A stack: who runs it, where it answers, which processes belong to it."""

    started: str
    state: str
    parent: Identity
    redis: str
    prefect_api: str
    prefect_ui: str
    dashboard: str | None
    postgres_data: str
    settings: dict[str, Any] = field(default_factory=dict)  # what the stack runs with, without secrets
    silent: dict[str, str] = field(default_factory=dict)  # processes that do not answer → since when
    stopping: str = ""  # what a stop under way waits for
    processes: dict[str, Identity] = field(default_factory=dict)

    @property
    def urls(self) -> dict[str, str | None]:
        """Where things answer, under the names every JSON output uses."""
        return {
            "redis": self.redis,
            "prefect_api": self.prefect_api,
            "prefect_ui": self.prefect_ui,
            "dashboard": self.dashboard,
        }


def record_path(state: Path) -> Path:
    """Where the record of the stack with this state lies."""
    return state / "stack.json"


def write(state: Path, record: StackRecord) -> None:
    """Replace the record in one step: a reader sees the old one or the new one, never half."""
    fresh = state / f"stack.json.{os.getpid()}"
    fresh.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    fresh.replace(record_path(state))


def read(state: Path) -> StackRecord | None:
    """The newest record, of a running stack or of one that ended badly; None where there is none."""
    try:
        raw = json.loads(record_path(state).read_text(encoding="utf-8"))
        raw["parent"] = Identity(**raw["parent"])
        raw["processes"] = {name: Identity(**each) for name, each in raw["processes"].items()}
        return StackRecord(**raw)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running(state: Path) -> StackRecord | None:
    """The record of the stack that runs on this state now."""
    record = read(state)
    return record if record is not None and record.parent.is_alive() else None


@contextmanager
def sole_owner(state: Path) -> Iterator[None]:
    """Hold the state folder's lock. Raises StackError, with the URLs, while another stack holds it."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(_already_running(state)) from None
        yield


def _already_running(state: Path) -> str:
    record = running(state)
    if record is None:
        return f"A stack is starting or stopping on {state}. Try again in a few seconds"
    lines = [f"  {name}: {url}" for name, url in record.urls.items() if url]
    head = f"A stack already runs on {state} (pid {record.parent.pid}). Stop it with `gridflow stop`"
    return "\n".join([head, *lines])
