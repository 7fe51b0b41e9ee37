"""One child process of the stack: started, watched, restarted when it dies, ended in order."""

import asyncio
import os
import pwd
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.runtime.processes import Identity, kill_group
from tasks.base.errors import SetupRefused, StackError

_MAX_LOG_BYTES = 10_000_000
_MAX_BACK_OFF_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_POLL_SECONDS = 0.1
# A child that was never ready has nothing to finish.
_UNREADY_STOP_SECONDS = 3.0
_CANCEL_AGAIN_SECONDS = 1.0

Say = Callable[[str], None]


async def _at_once() -> bool:
    return True


@dataclass
class Child:
    """How to run one process of the stack. `ready` is asked until it says yes."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    where: str = ""
    ready: Callable[[], Awaitable[bool]] = _at_once
    ready_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    user: str | None = None
    folder: Path | None = None
    refusal: Path | None = None  # where it may say why it cannot start; EX_CONFIG: its settings are at fault
    before_start: Callable[[], None] = field(default=lambda: None)


class Supervisor:
    """Keeps one child alive until told to stop it."""

    def __init__(self, child: Child, say: Say, on_start: Callable[[str, Identity | None], None]) -> None:
        self.child = child
        self._say = say
        self._on_start = on_start
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._killed = False

    async def start(self) -> None:
        """Start the child and return when it is ready. Raises StackError, with its last lines, if it is not."""
        begun = time.monotonic()
        await self._spawn()
        await self._wait_ready()
        self._say(f"{self.child.name} ready{self.child.where} ({time.monotonic() - begun:.1f} s)")
        self._keeper = asyncio.create_task(self._keep())

    @property
    def is_running(self) -> bool:
        """Whether the child lives now."""
        return self._process is not None and self._process.returncode is None

    async def run_once(self, *arguments: str) -> int | None:
        """After `stop`: run the child's command with more arguments to its end; its exit code."""
        await self._spawn(*arguments)
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.child.stop_seconds):
                await self._process.wait()
        return await self._end_group(self._process)

    async def stop(self) -> int | None:
        """End the child: its stop signal, then SIGKILL to what is left of its group. Its exit code."""
        if self._keeper is not None:
            await cancel(self._keeper)
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(self.child.stop_signal)
            seconds = self.child.stop_seconds
            if self._keeper is None:
                seconds = min(seconds, _UNREADY_STOP_SECONDS)
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                self._say(f"{self.child.name} did not end within {seconds:.0f} s: killed")
        return await self._end_group(process)

    def kill(self) -> None:
        """End the child at once and for good: it is not started again. `stop` still has to be awaited."""
        self._killed = True
        if self._keeper is not None:
            self._keeper.cancel()
        if self.is_running:
            self._kill_group()

    def _kill_group(self) -> None:
        assert self._process is not None
        kill_group(self._process.pid)

    async def _end_group(self, process: asyncio.subprocess.Process) -> int | None:
        kill_group(process.pid)
        code = await process.wait()
        self._process = None  # its pid may be another's from now on
        return code

    async def _spawn(self, *arguments: str) -> None:
        child = self.child
        if self._killed:
            raise StackError(f"{child.name} was ended for good and is not started again")
        child.before_start()
        cap_log(child.log, keep=True)
        entry = pwd.getpwnam(child.user) if child.user else None
        with child.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *child.command,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child.environment,
                cwd=child.folder,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops all in order
                user=entry.pw_uid if entry else None,
                group=entry.pw_gid if entry else None,
                extra_groups=[] if entry else None,
            )
        self._on_start(child.name, Identity.of(self._process.pid))

    async def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.child.ready_seconds
        while not await self.child.ready():
            if self._process.returncode is not None:
                self._tell_refusal(self._process.returncode)
                why = f"ended with code {self._process.returncode} while starting"
                raise StackError(f"{self.child.name} {why}. Its log {self.child.log} ends:\n{tail(self.child.log)}")
            if time.monotonic() > deadline:
                why = f"was not ready within {self.child.ready_seconds:.0f} s"
                raise StackError(f"{self.child.name} {why}. Its log {self.child.log} ends:\n{tail(self.child.log)}")
            await asyncio.sleep(_POLL_SECONDS)

    def _tell_refusal(self, code: int) -> None:
        """A child that says itself why it cannot start is quoted, and nothing more."""
        refusal = self.child.refusal
        if refusal is None or not refusal.exists():
            return
        text = refusal.read_text(encoding="utf-8")
        raise SetupRefused(text) if code == os.EX_CONFIG else StackError(text)

    async def _keep(self) -> None:
        pause = 1.0
        while True:
            assert self._process is not None
            begun = time.monotonic()
            code = await self._process.wait()
            self._kill_group()
            pause = 1.0 if time.monotonic() - begun > _STEADY_SECONDS else pause
            self._say(f"{self.child.name} ended with code {code}: starting it again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_BACK_OFF_SECONDS)
            try:
                await self._spawn()
                await self._wait_ready()
                self._say(f"{self.child.name} ready again{self.child.where}")
            except (StackError, OSError) as error:
                self._say(str(error))
                if self.is_running:
                    self._kill_group()


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel and wait until it has ended; how it ended is the caller's to read.

    A cancellation may get lost: Python 3.11's `wait_for`, which Redis calls go through, drops the one that comes at
    the moment of its answer. So it is repeated.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)


def cap_log(log: Path, keep: bool = False, limit: int = _MAX_LOG_BYTES) -> None:
    """Move a log that has grown beyond `limit` bytes to `<log>.1`; an open one is copied and cut, not moved."""
    if not log.exists() or log.stat().st_size <= limit:
        return
    old = log.with_name(f"{log.name}.1")
    if keep:
        log.replace(old)
    else:
        shutil.copyfile(log, old)
        os.truncate(log, 0)  # children write in append mode, so the next line lands at the new end


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
