"""A child is started, watched, restarted and ended; real processes, no servers."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from flows.runtime.processes import Identity
from flows.runtime.supervisor import Child, Notices, Supervisor, cancel
from tasks.base.errors import SetupRefused, StackError


class Watched:
    """A supervisor with what it said and started."""

    def __init__(self, folder: Path, code: str, ready_seconds: float = 10, stop_seconds: float = 5) -> None:
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
            child, self.said.append, Notices(lambda _name, identity: self.started.append(identity))
        )

    async def until_started(self, times: int) -> Identity:
        async with asyncio.timeout(10):
            while len(self.started) < times:  # noqa: ASYNC110 - the supervisor tells nobody
                await asyncio.sleep(0.05)
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
    """Stopping is bounded."""
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
