"""The child processes of a running stack, and their entries in `stack.json`."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.runtime.stack import children
from flows.runtime.stack import record as record_file
from flows.runtime.stack.supervisor import Callbacks, Child, Say, Supervisor
from tasks.settings.running import Identity, StackRecord

_WAITED_FOR = {children.WORKER: "the worker to cancel open orders and end"}


class Processes:
    """Starts, watches and ends the children by name; keeps the record in the state folder up to date."""

    def __init__(self, folder: Path, say: Say, on_failure: Callable[[str, str], None]) -> None:
        """`on_failure(name, why)` is called when a child has failed too often and is not restarted."""
        self._folder = folder
        self._say = say
        self._on_failure = on_failure
        self._supervisors: dict[str, Supervisor] = {}
        self.record: StackRecord | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._supervisors

    def __getitem__(self, name: str) -> Supervisor:
        return self._supervisors[name]

    def write_record(self, record: StackRecord | None = None) -> None:
        """Write the record as it is now; `record`: the first one."""
        self.record = record or self.record
        if self.record is not None:
            record_file.write(self._folder, self.record)

    async def launch(self, child: Child) -> None:
        """Start a child and return when it is ready. Raises StackError when it does not get ready."""
        notices = Callbacks(self._note_process, self._note_silence, self._on_failure)
        supervisor = self._supervisors[child.name] = Supervisor(child, self._say, notices)
        await supervisor.start()

    def starting(self) -> list[str]:
        """The children that were started and are not ready yet."""
        return [name for name, each in self._supervisors.items() if not each.is_ready and not each.has_stopped]

    async def stop(self, name: str) -> int | None:
        """End a child; its exit code. None for one that was never started."""
        supervisor = self._supervisors.get(name)
        if supervisor is None:
            return None
        self.note_stopping(_WAITED_FOR.get(name, f"{name} to end"))
        begun = time.monotonic()
        code = await supervisor.stop()
        self._say(f"{name} stopped ({time.monotonic() - begun:.1f} s)")
        return code

    def kill(self) -> None:
        """SIGKILL every child; none is restarted."""
        for supervisor in self._supervisors.values():
            supervisor.kill()

    async def clear(self, at_once: bool) -> None:
        """Leave no process behind."""
        for name in children.STOP_ORDER:
            supervisor = self._supervisors.get(name)
            if supervisor is not None:
                if at_once:
                    supervisor.kill()
                await supervisor.stop()

    def note_stopping(self, what: str) -> None:
        """Record what the shutdown waits for; `gridflow stop` prints it."""
        if self.record is not None:
            self.record.stopping = what
            self.write_record()

    def _note_process(self, name: str, process: Identity | None) -> None:
        if self.record is not None and process is not None:
            self.record.processes[name] = process
            self.write_record()

    def _note_silence(self, name: str, since: float | None) -> None:
        if self.record is None:
            return
        if since is None:
            if self.record.silent.pop(name, None) is None:
                return
        else:
            self.record.silent[name] = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        self.write_record()


def this_process() -> Identity:
    """The stack's own process."""
    me = Identity.of(os.getpid())
    assert me is not None
    return me


async def all_at_once(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of it concurrently. The first error cancels the rest and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
