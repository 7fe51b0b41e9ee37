"""Ports, process identity, memory of a tree, logs and the stack's record."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.runtime.stack import record as stack_state
from flows.runtime.stack.ports import HOST, PortClaims
from flows.runtime.stack.processes import Identity, end, tree_memory
from flows.runtime.stack.supervisor import cap_log, tail
from tasks.base.errors import StackError


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
    earlier = Identity(process.pid, "0", found.command)
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
    end(leader, signal.SIGTERM, 5)
    process.wait(5)
    process.stdout.close()
    deadline = time.monotonic() + 5
    while child.is_alive():
        assert time.monotonic() < deadline


def test_memory_of_a_tree_counts_children() -> None:
    """This process and a child of it are both found."""
    process = _sleeper()
    found = {each.pid for each in tree_memory(os.getpid())}
    process.kill()
    process.wait()
    assert {os.getpid(), process.pid} <= found


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
    record = stack_state.StackRecord(
        started="now",
        state=str(tmp_path),
        parent=me,
        redis="redis://127.0.0.1:1/0",
        prefect_api="http://127.0.0.1:2/api",
        prefect_ui="http://127.0.0.1:2",
        dashboard=None,
        postgres_data="",
        processes={"Worker": me},
    )
    with stack_state.sole_owner(tmp_path):
        stack_state.write(tmp_path, record)
        assert stack_state.running(tmp_path) == record
        with pytest.raises(StackError, match=r"http://127\.0\.0\.1:2"), stack_state.sole_owner(tmp_path):
            pass
    with stack_state.sole_owner(tmp_path):
        pass


def test_a_half_written_record_counts_as_none(tmp_path: Path) -> None:
    """A broken file never breaks a command."""
    stack_state.record_path(tmp_path).write_text('{"parent": {"pid"')
    assert stack_state.read(tmp_path) is None
