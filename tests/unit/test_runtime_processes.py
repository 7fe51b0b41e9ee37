"""Ports, process identity, memory of a tree, logs and the stack's record."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.runtime.stack import record as record_file
from flows.runtime.stack.log_files import cap_log, tail
from flows.runtime.stack.ports import HOST, PortClaims
from flows.runtime.stack.processes import age_seconds, end, tree_memory_mib
from tasks.base.errors import StackError
from tasks.settings.running import Identity, read_record, record_path, running_stack
from tests.support.stale_stack import stack_record
from tests.support.waiting import until


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    """Somebody listens on the preferred port: another is chosen."""
    claims = PortClaims()
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        taken = server.getsockname()[1]
        assert claims.claim(taken) != taken
    claims.close()


def test_two_stacks_never_claim_the_same_port() -> None:
    """A claim holds before anybody listens, and ends when it is given back."""
    first, second = PortClaims(), PortClaims()
    port = first.claim()
    assert second.claim(port) != port
    first.close()
    assert second.claim(port) == port
    second.close()


def test_a_process_is_not_taken_for_another_with_its_pid() -> None:
    """A record whose start time differs is about a process that is gone, whoever has the pid now."""
    process = _sleeper()
    found = Identity.of(process.pid)
    assert found is not None
    assert found.is_alive()
    earlier = Identity(process.pid, found.started - 1, found.command)
    assert not earlier.is_alive()
    end(earlier)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert not found.is_alive()


def test_ending_a_process_ends_its_group() -> None:
    """Children in the process's group go with it."""
    code = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    child = Identity.of(int(process.stdout.readline()))
    leader = Identity.of(process.pid)
    assert child is not None
    assert leader is not None
    end(leader, signal.SIGTERM, 30)
    process.wait(30)
    process.stdout.close()
    until(lambda: not child.is_alive(), 15, "the child to end")


def test_the_start_of_a_process_does_not_move_with_the_system_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil's time of day of both boot and start moves by an hour: the process is still the same."""
    me = Identity.of(os.getpid())
    assert me is not None
    boot, created = psutil.boot_time(), psutil.Process().create_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _process: created + 3600)
    assert me.is_alive()


def test_a_zombie_is_not_alive() -> None:
    """A killed child that nobody has waited for yet."""
    process = _sleeper()
    found = Identity.of(process.pid)
    assert found is not None
    process.kill()
    until(lambda: not found.is_alive(), 15, "the process to end")
    assert process.wait() == -signal.SIGKILL


def test_the_age_of_a_process_counts_from_its_start() -> None:
    """In seconds; measured by a fresh process."""
    code = "import time; time.sleep(1); from flows.runtime.stack.processes import age_seconds; print(age_seconds())"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 <= float(done.stdout) <= time.monotonic() - begun + 0.1
    assert age_seconds() > 0


def test_memory_of_a_tree_counts_children() -> None:
    """A child with 50 MiB of its own adds at least that."""
    before = tree_memory_mib(os.getpid())
    code = "import sys; kept = bytearray(50 << 20); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert tree_memory_mib(os.getpid()) > before + 50
    assert tree_memory_mib(process.pid) == 0


def test_an_open_log_is_cut_without_losing_its_last_lines(tmp_path: Path) -> None:
    """What was there is kept once; the writer goes on at the new end."""
    log = tmp_path / "a.log"
    with log.open("a") as writer:
        writer.write("old\n" * 10)
        writer.flush()
        cap_log(log, limit=20)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert tail(tmp_path / "a.log.1") == "\n".join(["old"] * 10)


def test_a_state_folder_has_one_owner(tmp_path: Path) -> None:
    """The second is refused with the first one's URLs, and free to go on once it has ended."""
    me = Identity.of(os.getpid())
    assert me is not None
    record = stack_record(tmp_path, me)
    record.processes = {"Worker": me}
    with record_file.sole_owner(tmp_path):
        record_file.write(tmp_path, record)
        assert running_stack(tmp_path) == record
        with pytest.raises(StackError, match=r"http://127\.0\.0\.1:2"), record_file.sole_owner(tmp_path):
            pass
    with record_file.sole_owner(tmp_path):
        pass


def test_a_half_written_record_counts_as_none(tmp_path: Path) -> None:
    """A broken file never breaks a command."""
    record_path(tmp_path).write_text('{"parent": {"pid"')
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("started", ["ticks", "date"])
def test_a_record_of_an_earlier_version(tmp_path: Path, started: str) -> None:
    """Linux: the start in clock ticks since boot, as text, is understood. macOS wrote a date: refused with a remedy."""
    me = Identity.of(os.getpid())
    assert me is not None
    text = str(round(me.started * os.sysconf("SC_CLK_TCK"))) if started == "ticks" else "Mon Nov 24 10:00:00 2026"
    old = {"pid": me.pid, "started": text, "command": me.command}
    urls = {"redis": "", "prefect_api": "", "prefect_ui": "", "dashboard": None}
    record = {
        "started": "now",
        "state": str(tmp_path),
        "parent": old,
        "postgres_data": "",
        "processes": {"Worker": old},
    }
    record_path(tmp_path).write_text(json.dumps(record | urls))
    if started == "ticks":
        found = running_stack(tmp_path)
        assert found is not None
        assert found.living() == {"Worker": me}
    else:
        with pytest.raises(StackError, match="earlier version"):
            running_stack(tmp_path)
