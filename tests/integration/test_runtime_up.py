"""`gridflow up` as a process: start, second start, restart of children, stop, take-over after SIGKILL."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as sync_redis

from flows.runtime.stack.postgres import remove
from flows.runtime.stack.valkey import redis_url, valkey_command
from tasks.base.keys import Keys
from tasks.settings.running import Identity, read_record
from tests.support.prefect_stack import copy_tables
from tests.support.servers import free_port
from tests.support.up import Up, processes_of
from tests.support.waiting import until


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder with a database; whatever still runs on it is ended, its data removed."""
    folder = tmp_path / "state"
    copy_tables(folder)
    yield folder
    for process in processes_of(folder):
        process.kill()
    remove(folder)


def test_serves_refuses_a_second_mends_a_child_and_stops_without_a_trace(state: Path) -> None:
    """The life of a stack on one state folder."""
    first = Up(state)
    record = first.wait_ticking()

    second = Up(state)
    out, _ = second.process.communicate(timeout=120)
    assert (second.process.returncode, out) == (1, "")
    assert record.prefect_ui in second.said
    assert str(first.process.pid) in second.said

    old = record.processes["Worker"]
    os.kill(old.pid, signal.SIGKILL)

    first.wait_said("Worker ready again")
    stopped = first.gridflow("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "Stopped.\n"), stopped.stderr
    summary = first.end()
    assert summary["stopped_in_order"] is True
    assert summary["valkey_answers"] is True
    assert summary["first_tick_seconds"] < 60
    *first_calls, last_call = (state / "calls.txt").read_text().split()
    assert first_calls[:3] == ["open", "open", "request_stop"]
    assert set(first_calls[3:]) <= {"request_stop", "graceful_stop"}  # asked once more for a run that begins meanwhile
    assert last_call == "graceful_stop"
    assert "Worker ended with code -9: starting it again" in first.said
    assert processes_of(state) == []
    assert read_record(state) is None


def test_valkey_answers_a_write_once_it_is_on_disk(tmp_path: Path) -> None:
    """Not up to a second later; and a killed one has it again. Its files stay small, however much is written."""
    port = free_port()
    for number in range(2):
        server = subprocess.Popen(valkey_command(tmp_path / "valkey", port))
        try:
            with sync_redis.Redis.from_url(redis_url(port)) as client:
                until(lambda: _responds(client), 10)
                kept = client.config_get("append*")
                assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "always")
                assert client.get("entry") == (b"written" if number else None)
                client.set("entry", "written")
                if number:
                    for _ in range(45):
                        client.set("large", "x" * 2**20)
                    until(lambda: _megabytes(tmp_path / "valkey") < 40, 10, "a rewrite of the append-only file")
                    assert client.get("entry") == b"written"
        finally:
            server.kill()
            server.wait(10)


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def _responds(client: sync_redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except sync_redis.RedisError:
        return False


def test_a_valkey_that_keeps_dying_ends_the_stack_and_leaves_a_list_of_orders(state: Path) -> None:
    """Three fresh starts, not a fourth: trading stops, the exit code says so, the last journal names what may rest."""
    (state / "stubborn").touch()  # the worker, as one that waits for Redis in vain
    up = Up(state, "--worker", "tests.support.idle_worker")
    up.wait_said("Worker ready")
    up.wait_said("Prefect server ready")
    record = read_record(state)
    assert record is not None
    order = {"symbol": "BTC/USDT", "client_id": "g1-4-b-0", "side": "buy", "price": "41000.5", "qty": "0.002"}
    with sync_redis.Redis.from_url(record.redis) as client:
        client.hset(Keys("main").intents("BTC/USDT"), "g1-4-b-0", json.dumps(order))
        client.hset(Keys("main").funds, "reserved", 8_200_100_000)
        client.sadd(Keys("main").funds_symbols, "BTC/USDT")
    journal = state / "open_orders.json"
    until(lambda: journal.exists() and "g1-4-b-0" in journal.read_text(), 30)
    for turn in range(4):
        os.kill(valkey_of(state).pid, signal.SIGKILL)
        until(lambda count=turn: up.said.count("Valkey ended with code -9") > count, 30)  # type: ignore[misc]
        if turn < 3:
            until(lambda count=turn: up.said.count("Valkey ready again") > count, 30)  # type: ignore[misc]
    out, _ = up.process.communicate(timeout=240)
    assert up.process.returncode == 1
    assert "it was restarted 3 times in 10 minutes and is not restarted again" in up.said
    assert "Trading stops" in up.said
    summary = json.loads(out)
    left = [{"symbol": "BTC/USDT", "id": "g1-4-b-0", "side": "buy", "price": "41000.5", "qty": "0.002"}]
    assert (summary["orders_open"], summary["reserved"]) == (left, "82.001")
    assert json.loads((state / "last_stop.json").read_text())["orders_open"] == left
    assert processes_of(state) == []


def valkey_of(state: Path) -> Identity:
    """The Valkey that runs now."""
    record = read_record(state)
    assert record is not None
    return record.processes["Valkey"]


def test_takes_over_from_a_killed_stack(state: Path) -> None:
    """SIGKILL leaves children behind, which `status` names; the next `up` ends them, mends the data and serves.

    For a time that is shorter than any start: it counts from the first tick.
    """
    first = Up(state)
    left = first.wait_ticking()
    first.process.kill()
    first.process.communicate()
    assert all(each.is_alive() for each in left.processes.values())

    status = first.gridflow("status", "--json")
    shown = json.loads(status.stdout)
    assert shown["urls"] == {}
    assert shown["left_over"] == {name: each.pid for name, each in left.processes.items()}
    assert f"Worker (pid {left.processes['Worker'].pid})" in status.stderr
    assert "next `gridflow up` takes over" in status.stderr

    second = Up(state, "--for", "3")
    now = second.wait_ticking()
    assert not any(each.is_alive() for each in left.processes.values())
    assert set(now.processes) == set(left.processes)
    assert second.end()["stopped_in_order"] is True
    assert second.said.index("First tick") < second.said.index("Worker stopped")
    assert "left over from a stack that was killed" in second.said
    assert processes_of(state) == []
