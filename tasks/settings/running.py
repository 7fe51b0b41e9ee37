"""Where a one-machine stack runs, and which Redis and Prefect server a command or screen uses.

`gridflow up` writes `stack.json` into its state folder (see `flows.runtime.stack.record`);
everything else reads it here.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tasks.base.errors import StackError
from tasks.settings.environment import configured_prefect_api, state_dir
from tasks.settings.model import Settings

_SAME_START_SECONDS = 0.05  # start times have a resolution of 0.01 s


@dataclass(frozen=True)
class Identity:
    """A process. Its start time tells it from a later process with the same pid.

    `started` is in seconds since the machine booted, because the time of day changes with the system clock.
    """

    pid: int
    started: float
    command: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of a living process; None when there is none (a zombie counts as none)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            started = process.create_time() - psutil.boot_time()
            return cls(pid, round(started, 2), " ".join(process.cmdline()))
        except psutil.Error:
            return None

    def is_alive(self) -> bool:
        """Whether this very process still runs. A process that changed its title is still the same."""
        now = Identity.of(self.pid)
        return now is not None and abs(now.started - self.started) <= _SAME_START_SECONDS


@dataclass
class StackRecord:
    """A stack: which process runs it, its URLs, its processes."""

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
        """The stack's URLs under the names that every JSON output uses."""
        return {
            "redis": self.redis,
            "prefect_api": self.prefect_api,
            "prefect_ui": self.prefect_ui,
            "dashboard": self.dashboard,
        }

    @property
    def is_running(self) -> bool:
        """Whether its `gridflow up` is alive."""
        return self.parent.is_alive()

    def living(self) -> dict[str, Identity]:
        """Its processes that are alive now, by name."""
        return {name: process for name, process in self.processes.items() if process.is_alive()}


def record_path(folder: Path) -> Path:
    """Where the record of the stack with this state folder lies."""
    return folder / "stack.json"


def read_record(folder: Path) -> StackRecord | None:
    """The newest record, of a running stack or of one that was killed; None where there is none.

    Raises StackError for a record of an earlier version that cannot be understood any more.
    """
    try:
        raw = json.loads(record_path(folder).read_text(encoding="utf-8"))
        raw["parent"] = _identity(raw["parent"], folder)
        raw["processes"] = {name: _identity(each, folder) for name, each in raw["processes"].items()}
        return StackRecord(**raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _identity(raw: dict[str, Any], folder: Path) -> Identity:
    """A process of the record. Earlier versions wrote the start as text: clock ticks since boot, a date on macOS."""
    started = raw["started"]
    if isinstance(started, str) and not started.isdigit():
        raise StackError(
            f"{record_path(folder)} was written by an earlier version of Gridflow. Stop that stack with the version "
            "that started it; delete the file if no such stack runs"
        )
    seconds = int(started) / os.sysconf("SC_CLK_TCK") if isinstance(started, str) else float(started)
    return Identity(int(raw["pid"]), seconds, str(raw["command"]))


def running_stack(state: Path | None = None) -> StackRecord | None:
    """The stack that runs on the state folder `state` (default: see `state_dir`), if any. Raises StackError."""
    record = read_record(state_dir(state))
    return record if record is not None and record.is_running else None


def stale_stack(state: Path | None = None) -> StackRecord | None:
    """The stack on this state folder whose `gridflow up` was killed while other processes of it still run, if any.

    Raises StackError as `read_record` does.
    """
    record = read_record(state_dir(state))
    return record if record is not None and not record.is_running and record.living() else None


def recorded_stack(state: Path | None = None) -> StackRecord | None:
    """The stack that runs on this state folder, or was killed while processes of it still run. Raises StackError."""
    return running_stack(state) or stale_stack(state)


def has_redis(settings: Settings, state: Path | None = None) -> bool:
    """Whether a Redis is known: the settings' own, or that of a recorded stack."""
    return settings.redis_url is not None or recorded_stack(state) is not None


def redis_url(settings: Settings, state: Path | None = None) -> str:
    """URL of the settings' own Redis, else of the recorded stack's. Raises StackError where there is neither."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    stack = recorded_stack(state)
    if stack is None:
        raise StackError(
            f"No stack runs on {state_dir(state)} and no Redis is configured. "
            "Run `gridflow up`, or set redis_url (GRIDFLOW_REDIS_URL) to your own Redis"
        )
    return stack.redis


def dashboard_url(settings: Settings, state: Path | None = None) -> str | None:
    """URL of the dashboard: of the settings, else of the stack on this state folder; None where none is known."""
    record = None if settings.dashboard.url else read_record(state_dir(state))
    return settings.dashboard.url or (record.dashboard if record else None)


def prefect_api(state: Path | None = None) -> str:
    """URL of the running stack's Prefect API, else $PREFECT_API_URL. Raises StackError where there is neither."""
    stack = running_stack(state)
    found = stack.prefect_api if stack else configured_prefect_api()
    if found is None:
        raise StackError("No Prefect server is known. Run `gridflow up`, or set PREFECT_API_URL")
    return found
