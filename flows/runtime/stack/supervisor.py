"""Supervises one child process of the stack: start, liveness checks, restarts, orderly end."""

import asyncio
import os
import pwd
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.runtime.stack.log_files import cap_log, tail
from flows.runtime.stack.processes import kill_tree, resume
from tasks.base.errors import SetupRefused, StackError
from tasks.settings.running import Identity

_MAX_BACK_OFF_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_POLL_SECONDS = 0.1
# A child that was never ready has nothing to finish.
_UNREADY_STOP_SECONDS = 3.0
_CANCEL_AGAIN_SECONDS = 1.0
_LEAST_UNANSWERED = 3

Say = Callable[[str], None]


async def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Limits:
    """When a child counts as hung, and how often it is restarted. Seconds."""

    ask_every: float = 2.0
    answer_within: float = 5.0
    hung_after: float = 15.0
    restarts: int = 3
    restarts_within: float = 600.0


@dataclass
class Child:
    """How to run one process of the stack. `ready` is polled until it is true, `alive` from then on."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    where: str = ""
    ready: Callable[[], Awaitable[bool]] = _at_once
    alive: Callable[[], Awaitable[bool]] = _at_once
    ready_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    user: str | None = None
    folder: Path | None = None
    refusal: Path | None = None  # file in which it may say why it cannot start; exit code EX_CONFIG: wrong settings
    recycles: int | None = None  # exit code of a child that asks to be restarted: no failure
    limits: Limits = Limits()
    before_start: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Callbacks:
    """Called by a supervisor: a process was started; the child does not answer since (None: it does); it gave up."""

    started: Callable[[str, Identity | None], None]
    silent: Callable[[str, float | None], None] = lambda _name, _since: None
    gave_up: Callable[[str, str], None] = lambda _name, _why: None


class Supervisor:
    """Keeps one child alive until `stop` is called, or until it has failed too often."""

    def __init__(self, child: Child, say: Say, notices: Callbacks) -> None:
        self.child = child
        self._say = say
        self._callbacks = notices
        self._process: asyncio.subprocess.Process | None = None
        self._identity: Identity | None = None
        self._watching: asyncio.Task[None] | None = None
        self._killed = False
        self._restarts: list[float] = []

    async def start(self) -> None:
        """Start the child and return when it is ready. Raises StackError, with its last lines, if it is not."""
        begun = time.monotonic()
        await self._spawn()
        await self._wait_ready()
        self._say(f"{self.child.name} ready{self.child.where} ({time.monotonic() - begun:.1f} s)")
        self._watching = asyncio.create_task(self._keep())

    @property
    def is_ready(self) -> bool:
        """Whether the child has been ready since it was first started."""
        return self._watching is not None

    @property
    def has_stopped(self) -> bool:
        """Whether `stop` has ended the child, or it was never started."""
        return self._process is None

    @property
    def is_running(self) -> bool:
        """Whether the child is alive now."""
        return self._process is not None and self._process.returncode is None

    async def run_once(self, *arguments: str) -> int | None:
        """After `stop`: run the child's command once more, with these arguments, to its end; its exit code."""
        await self._spawn(*arguments)
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.child.stop_seconds):
                await self._process.wait()
        return await self._end_group(self._process)

    async def stop(self) -> int | None:
        """End the child: its stop signal, then SIGKILL to what is left of its tree. Its exit code."""
        if self._watching is not None:
            await cancel(self._watching)
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            self._ask_to_end(process.pid)
            seconds = self.child.stop_seconds
            if self._watching is None:
                seconds = min(seconds, _UNREADY_STOP_SECONDS)
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                self._say(f"{self.child.name} did not end within {seconds:.0f} s: killed")
        return await self._end_group(process)

    def _ask_to_end(self, pid: int) -> None:
        """Send the stop signal to a child that lives.

        Not by asyncio: that asks first whether the child has ended, takes the exit code of one that has, and reports
        255 in its place.
        """
        if self._identity is None or not self._identity.is_alive():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, self.child.stop_signal)
            resume(pid)  # a process stopped by SIGSTOP handles no other signal

    def kill(self) -> None:
        """End the child at once and for good: it is not started again. `stop` still has to be awaited."""
        self._killed = True
        if self._watching is not None:
            self._watching.cancel()
        if self.is_running:
            self._kill_tree()

    def _kill_tree(self) -> None:
        assert self._process is not None
        kill_tree(self._process.pid)

    async def _end_group(self, process: asyncio.subprocess.Process) -> int | None:
        kill_tree(process.pid)
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
        self._identity = Identity.of(self._process.pid)
        self._callbacks.started(child.name, self._identity)

    async def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.child.ready_seconds
        while not await self.child.ready():
            if self._process.returncode is not None:
                self._raise_refusal(self._process.returncode)
                why = f"ended with code {self._process.returncode} while starting"
                raise StackError(f"{self.child.name} {why}. Its log {self.child.log} ends:\n{tail(self.child.log)}")
            if time.monotonic() > deadline:
                why = f"was not ready within {self.child.ready_seconds:.0f} s"
                raise StackError(f"{self.child.name} {why}. Its log {self.child.log} ends:\n{tail(self.child.log)}")
            await asyncio.sleep(_POLL_SECONDS)

    def _raise_refusal(self, code: int) -> None:
        """Raise with the child's own text where it wrote down why it cannot start."""
        refusal = self.child.refusal
        if refusal is None or not refusal.exists():
            return
        text = refusal.read_text(encoding="utf-8")
        raise SetupRefused(text) if code == os.EX_CONFIG else StackError(text)

    # --- keeping it alive ------------------------------------------------------------------------------
    async def _keep(self) -> None:
        pause = 1.0
        while True:
            begun = time.monotonic()
            why = await self._failure()
            if not self._may_restart(why):
                return
            pause = 1.0 if time.monotonic() - begun > _STEADY_SECONDS else pause
            self._say(f"{self.child.name} {why}: starting it again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_BACK_OFF_SECONDS)
            try:
                await self._spawn()
                await self._wait_ready()
                self._say(f"{self.child.name} ready again{self.child.where}")
            except (StackError, OSError) as error:
                self._say(str(error))
                if self.is_running:
                    self._kill_tree()

    async def _failure(self) -> str:
        """Wait until the child has ended or no longer answers; it is ended then. What happened."""
        process = self._process
        assert process is not None
        ended = asyncio.ensure_future(process.wait())
        hung = asyncio.ensure_future(self._hung())
        try:
            await asyncio.wait({ended, hung}, return_when=asyncio.FIRST_COMPLETED)
            silent = not ended.done()
            self._kill_tree()
            code = await process.wait()
        finally:
            await cancel(ended)
            await cancel(hung)
        self._callbacks.silent(self.child.name, None)
        return f"has not answered for {self.child.limits.hung_after:.0f} s" if silent else f"ended with code {code}"

    async def _hung(self) -> None:
        """Return when the child has not answered for too long."""
        limits = self.child.limits
        answered, unanswered = time.monotonic(), 0
        while True:
            asked, asked_at = time.monotonic(), time.time()
            if await self._responds():
                if unanswered:
                    self._callbacks.silent(self.child.name, None)
                answered, unanswered = time.monotonic(), 0
            else:
                unanswered += 1
                if unanswered == 1:
                    self._callbacks.silent(self.child.name, asked_at)
            # Several checks in a row, because this very process may have been suspended.
            if unanswered >= _LEAST_UNANSWERED and time.monotonic() - answered >= limits.hung_after:
                return
            await asyncio.sleep(max(0.0, asked + limits.ask_every - time.monotonic()))

    async def _responds(self) -> bool:
        try:
            async with asyncio.timeout(self.child.limits.answer_within):
                return await self.child.alive()
        except (OSError, TimeoutError):
            return False

    def _may_restart(self, why: str) -> bool:
        """Count the failure; whether the child is restarted. One that asked for a restart always is."""
        assert self._process is not None
        if self.child.recycles is not None and self._process.returncode == self.child.recycles:
            return True
        limits = self.child.limits
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < limits.restarts_within]
        if len(self._restarts) < limits.restarts:
            self._restarts.append(now)
            return True
        often = f"{limits.restarts} times in {limits.restarts_within / 60:.0f} minutes"
        text = f"{self.child.name} {why}; it was restarted {often} and is not restarted again"
        self._say(text)
        self._callbacks.gave_up(self.child.name, text)
        return False


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel and wait until the task has ended; the caller reads its result.

    Python 3.11's `wait_for`, which Redis calls go through, may lose a cancellation that arrives together with the
    result. So the cancellation is repeated.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)
