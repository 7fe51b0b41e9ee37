"""`gridflow up` as a process: start, second start, restart of children, stop, take-over after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as sync_redis

from flows.runtime import state as stack_state
from flows.runtime.postgres import remove
from flows.runtime.valkey import redis_url, valkey_command
from tests.support.servers import free_port

_ROOT = Path(__file__).parents[2]


class Up:
    """One `up` process on a state folder."""

    def __init__(self, state: Path, said: Path) -> None:
        self.state, self._said = state, said
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with said.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stub_up", str(state)],
                cwd=_ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_ticking(self) -> stack_state.StackRecord:
        """Wait for the first tick of this very process; the record of the stack."""

        def ticking() -> bool:
            assert self.process.poll() is None, self.said
            return "First tick" in self.said

        _until(ticking, 90)
        record = stack_state.read(self.state)
        assert record is not None
        return record

    def end(self, number: signal.Signals) -> dict[str, Any]:
        """Stop in order; the summary."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.said
        summary: dict[str, Any] = json.loads(out)
        return summary


def _until(question: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def _processes_of(state: Path) -> list[psutil.Process]:
    """Every process that carries the state folder in its command line or environment, or runs on its data."""
    marks = [str(state)]
    record = state / "postgres.json"
    if record.exists():
        marks.append(json.loads(record.read_text())["data"])
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join(process.cmdline()) + " ".join(process.environ().values())
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(mark in text for mark in marks):
            found.append(process)
    return found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder; whatever still runs on it is ended, its data removed."""
    folder = tmp_path / "state"
    yield folder
    for process in _processes_of(folder):
        process.kill()
    remove(folder)


def test_serves_refuses_a_second_mends_a_child_and_stops_without_a_trace(state: Path, tmp_path: Path) -> None:
    """The life of a stack on one state folder."""
    first = Up(state, tmp_path / "first.txt")
    record = first.wait_ticking()

    second = Up(state, tmp_path / "second.txt")
    out, _ = second.process.communicate(timeout=30)
    assert (second.process.returncode, out) == (1, "")
    assert record.prefect_ui in second.said
    assert str(first.process.pid) in second.said

    old = record.processes["Worker"]
    os.kill(old.pid, signal.SIGKILL)

    def mended() -> bool:
        return "Worker ready again" in first.said

    _until(mended, 60)
    summary = first.end(signal.SIGTERM)
    assert summary["stopped_in_order"] is True
    assert summary["valkey_answers"] is True
    assert summary["first_tick_seconds"] < 60
    assert (state / "calls.txt").read_text().split() == ["clear_stop", "clear_stop", "request_stop", "graceful_stop"]
    assert "Worker ended with code -9: starting it again" in first.said
    assert _processes_of(state) == []
    assert stack_state.read(state) is None


def test_valkey_answers_a_write_once_it_is_on_disk(tmp_path: Path) -> None:
    """Not up to a second later; and a killed one has it again."""
    port = free_port()
    for number in range(2):
        server = subprocess.Popen(valkey_command(tmp_path / "valkey", port))
        try:
            with sync_redis.Redis.from_url(redis_url(port)) as client:
                _until(lambda: _answers(client), 10)
                kept = client.config_get("append*")
                assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "always")
                assert client.get("entry") == (b"written" if number else None)
                client.set("entry", "written")
        finally:
            server.kill()
            server.wait(10)


def _answers(client: sync_redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except sync_redis.RedisError:
        return False


def test_takes_over_from_a_killed_stack(state: Path, tmp_path: Path) -> None:
    """SIGKILL leaves children behind; the next `up` ends them, mends the data and serves; Ctrl-C ends it."""
    first = Up(state, tmp_path / "first.txt")
    left = first.wait_ticking()
    first.process.kill()
    first.process.communicate()
    assert all(each.is_alive() for each in left.processes.values())

    second = Up(state, tmp_path / "second.txt")
    now = second.wait_ticking()
    assert not any(each.is_alive() for each in left.processes.values())
    assert set(now.processes) == set(left.processes)
    second.end(signal.SIGINT)
    assert "left over from a stack that was killed" in second.said
    assert _processes_of(state) == []
