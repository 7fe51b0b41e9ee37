"""A child is started, watched, restarted and ended; real processes, no servers."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from flows.runtime.stack import health_checks
from flows.runtime.stack.supervisor import Callbacks, Child, Limits, Supervisor, cancel
from tasks.base.errors import SetupRefused, StackError
from tasks.settings.running import Identity
from tests.support.waiting import until


class Watched:
    """A supervisor with what it said and started."""

    def __init__(self, folder: Path, code: str, ready_seconds: float = 60, stop_seconds: float = 60) -> None:
        self.said: list[str] = []
        self.started: list[Identity | None] = []
        child = Child(
            name="Child",
            command=[sys.executable, "-c", code],
            environment={},
            log=folder / "child.log",
            ready_seconds=ready_seconds,
            stop_seconds=stop_seconds,
        )
        self.supervisor = Supervisor(
            child, self.said.append, Callbacks(lambda _name, identity: self.started.append(identity))
        )

    async def until_counted(self, times: int) -> None:
        async with asyncio.timeout(60):
            while len(self.started) < times:  # noqa: ASYNC110 - the supervisor tells nobody
                await asyncio.sleep(0.05)

    async def until_started(self, times: int) -> Identity:
        await self.until_counted(times)
        identity = self.started[-1]
        assert identity is not None
        return identity


async def never() -> bool:
    """Not ready."""
    return False


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """And a line says so."""
    watched = Watched(tmp_path, "import time; time.sleep(60)")
    await watched.supervisor.start()
    os.kill((await watched.until_started(1)).pid, signal.SIGKILL)
    again = await watched.until_started(2)
    assert again.is_alive()
    assert "Child ended with code -9: starting it again in 1 s" in watched.said
    await watched.supervisor.stop()
    assert not again.is_alive()


async def test_a_child_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    """Stopping is run_with_redis."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ok', flush=True); time.sleep(60)"
    watched = Watched(tmp_path, code, stop_seconds=0.3)

    async def ready() -> bool:
        return "ok" in (tmp_path / "child.log").read_text()

    watched.supervisor.child.ready = ready
    await watched.supervisor.start()
    assert await watched.supervisor.stop() == -signal.SIGKILL
    assert "Child did not end within 0 s: killed" in watched.said


async def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error carries the code and the end of its log."""
    watched = Watched(tmp_path, "print('no such thing'); raise SystemExit(4)")

    async def never() -> bool:
        return False

    watched.supervisor.child.ready = never
    with pytest.raises(StackError, match=r"ended with code 4 while starting[\s\S]*no such thing"):
        await watched.supervisor.start()
    await watched.supervisor.stop()


@pytest.mark.parametrize(("code", "kind"), [(os.EX_CONFIG, SetupRefused), (1, StackError)])
async def test_a_child_that_says_why_itself_is_quoted(tmp_path: Path, code: int, kind: type[Exception]) -> None:
    """Its words alone, no log; the settings' fault is told apart from others."""
    words = tmp_path / "refused"
    script = f"import pathlib, sys; pathlib.Path({str(words)!r}).write_text('too little money'); sys.exit({code})"
    watched = Watched(tmp_path, script)
    watched.supervisor.child.refusal = words
    watched.supervisor.child.ready = never
    with pytest.raises(kind, match=r"^too little money$"):
        await watched.supervisor.start()


async def test_a_killed_child_stays_ended(tmp_path: Path) -> None:
    """Unlike one that dies, and whoever asks: it is neither kept alive nor run once more."""
    watched = Watched(tmp_path, "import time; time.sleep(60)")
    await watched.supervisor.start()
    identity = await watched.until_started(1)
    watched.supervisor.kill()
    assert await watched.supervisor.stop() == -signal.SIGKILL
    assert not identity.is_alive()
    with pytest.raises(StackError, match="not started again"):
        await watched.supervisor.run_once()
    assert len(watched.started) == 1


async def test_the_exit_code_is_the_childs_own_on_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that waits for the child comes late: nothing else takes the exit code before it."""
    waitpid, may_wait = os.waitpid, threading.Event()

    def late(pid: int, options: int) -> tuple[int, int]:
        if options == 0:
            may_wait.wait(10)
        return waitpid(pid, options)

    monkeypatch.setattr(os, "waitpid", late)
    watched = Watched(tmp_path, "import time; time.sleep(60)")
    await watched.supervisor.start()
    await watched.until_started(1)
    watched.supervisor.kill()
    await asyncio.sleep(0.2)  # it is dead now, and nobody has asked for its exit code
    asyncio.get_running_loop().call_later(0.2, may_wait.set)
    assert await watched.supervisor.stop() == -signal.SIGKILL


async def test_a_lost_cancellation_is_repeated() -> None:
    """The first one gets lost, as in a Redis call; the task ends all the same."""
    lost = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await cancel(task)
    assert lost.is_set()
    assert task.cancelled()


# --- hung, and failing again and again ---------------------------------------------------------------------
_BEATS = "import pathlib, time\nwhile True:\n    pathlib.Path('beat').touch()\n    time.sleep(0.02)\n"
_QUICK = Limits(ask_every=0.1, answer_within=30, hung_after=2, restarts=1)


class Beating(Watched):
    """A child that touches a file again and again, and what its supervisor told of its silence and its giving up."""

    def __init__(self, folder: Path, code: str = _BEATS) -> None:
        super().__init__(folder, code)
        self.silent: list[float | None] = []
        self.gave_up: list[str] = []
        child = self.supervisor.child
        child.folder, child.limits, child.alive = folder, _QUICK, health_checks.files_touched([folder / "beat"])
        child.before_start = lambda: (folder / "beat").unlink(missing_ok=True)
        notices = Callbacks(
            lambda _name, identity: self.started.append(identity),
            lambda _name, since: self.silent.append(since),
            lambda _name, why: self.gave_up.append(why),
        )
        self.supervisor = Supervisor(child, self.said.append, notices)

    async def until_beating(self) -> Identity:
        """The child, past its first touch of the file."""
        assert self.supervisor.child.folder is not None
        async with asyncio.timeout(60):
            while not (self.supervisor.child.folder / "beat").exists():  # noqa: ASYNC110 - the child tells nobody
                await asyncio.sleep(0.02)
        return await self.until_started(1)


async def test_a_child_that_no_longer_answers_is_killed_and_started_again(tmp_path: Path) -> None:
    """One that stands still hears no signal but SIGKILL; since when it is silent is told at its first silence."""
    watched = Beating(tmp_path)
    await watched.supervisor.start()
    hung = await watched.until_beating()
    os.kill(hung.pid, signal.SIGSTOP)
    again = await watched.until_started(2)
    assert not hung.is_alive()
    assert again.is_alive()
    assert "Child has not answered for 2 s: starting it again in 1 s" in watched.said
    assert isinstance(watched.silent[0], float)
    assert watched.silent[-1] is None
    await watched.supervisor.stop()


async def test_a_child_that_fails_too_often_is_given_up(tmp_path: Path) -> None:
    """A crash counts as much as a silence; it is said, and whoever stops the stack is told."""
    watched = Beating(tmp_path, "raise SystemExit(3)")
    await watched.supervisor.start()
    async with asyncio.timeout(60):
        while not watched.gave_up:  # noqa: ASYNC110 - the supervisor tells nobody else
            await asyncio.sleep(0.05)
    assert len(watched.started) == 2
    assert watched.gave_up[0] in watched.said
    assert "ended with code 3; it was restarted 1 times in 10 minutes" in watched.gave_up[0]
    assert await watched.supervisor.stop() == 3


async def test_a_child_that_asks_for_a_fresh_process_has_not_failed(tmp_path: Path) -> None:
    """However often it does."""
    watched = Beating(tmp_path, "raise SystemExit(75)")
    watched.supervisor.child.recycles = 75
    await watched.supervisor.start()
    await watched.until_counted(3)
    assert watched.gave_up == []
    await watched.supervisor.stop()


async def test_a_child_that_stands_still_ends_in_order_when_stopped(tmp_path: Path) -> None:
    """Its signal waits for it to go on, so it is made to."""
    watched = Beating(tmp_path)
    await watched.supervisor.start()
    os.kill((await watched.until_beating()).pid, signal.SIGSTOP)
    assert await watched.supervisor.stop() == -signal.SIGTERM
    assert not any("killed" in line for line in watched.said)


async def test_descendants_with_a_session_of_their_own_end_with_the_child(tmp_path: Path) -> None:
    """As PostgreSQL's processes are; else they would keep its data from the next one."""
    code = "import subprocess, time; p = subprocess.Popen(['sleep', '60'], start_new_session=True); " + (
        "open('pid', 'w').write(str(p.pid)); time.sleep(60)"
    )
    watched = Beating(tmp_path, code)

    async def ready() -> bool:
        return bool(tmp_path.joinpath("pid").exists() and tmp_path.joinpath("pid").read_text())

    watched.supervisor.child.ready = ready
    await watched.supervisor.start()
    grandchild = Identity.of(int((tmp_path / "pid").read_text()))
    assert grandchild is not None
    watched.supervisor.kill()
    await watched.supervisor.stop()
    until(lambda: not grandchild.is_alive(), 15, "the grandchild to end")
