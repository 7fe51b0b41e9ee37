"""Every server of the stack and its worker, hung by SIGSTOP: commands answer, it is started again, the books are exact.

One state folder and three runs on it, because a run ends with its stop.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as sync_redis

from flows.runtime.commands.stack_commands import EXIT_DARK
from flows.runtime.stack.postgres import remove
from tasks.base.keys import Keys
from tasks.settings.running import read_record
from tests.support.prefect_stack import copy_tables
from tests.support.up import GRIDFLOW, Up, processes_of
from tests.support.waiting import BUSY, until

_SETTINGS = """
[trading]
window_seconds = 10
tick_min_seconds = 0.5
tick_max_seconds = 2
[symbols."BTC/USDT"]
range_pct = "0.04"
cells = 8
start = "balanced"
[symbols."ETH/USDT"]
range_pct = "0.04"
cells = 8
start = "balanced"
"""
_ANSWER_SECONDS = 5.0
_START_UP_SECONDS = 0.5  # of a command that only prints its help, on an idle machine


class Stack:
    """The stack under test, and what hangs in it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        copy_tables(self.state)
        self._config = folder / "gridflow.toml"
        self._config.write_text(_SETTINGS, encoding="utf-8")
        self.typo = folder / "typo.toml"
        self.typo.write_text(_SETTINGS.replace('"balanced"', '"balanced', 1), encoding="utf-8")
        self.up = self.start()

    def running(self) -> Up:
        """A run past its first tick: the one under way, or the next one."""
        return self.up if self.up.process.poll() is None else self.start()

    def start(self) -> Up:
        """Run `gridflow up`, to its first tick."""
        more = ("--config", str(self._config), "--market", "synthetic", "--speed", "60", "--json", "--no-dashboard")
        self.up = Up(self.state, command=(GRIDFLOW, "up", "--state", str(self.state), *more))
        self.up.wait_ticking()
        return self.up

    def freeze(self, name: str) -> None:
        """SIGSTOP to a process of the stack and all its descendants, once it runs."""

        def frozen() -> bool:
            record = read_record(self.state)
            assert record is not None
            try:
                process = psutil.Process(record.processes[name].pid)
                for each in (process, *process.children(recursive=True)):
                    os.kill(each.pid, signal.SIGSTOP)
            except (KeyError, psutil.NoSuchProcess, ProcessLookupError):  # it is being started again
                return False
            return True

        until(frozen, 10)

    def ask(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command, which has five seconds to answer; more where the machine is busy with other work."""
        begun = time.monotonic()
        done = self.up.gridflow(*command)
        took = time.monotonic() - begun
        assert took < _ANSWER_SECONDS or took < _ANSWER_SECONDS * self._slowness(), (command, took, done.stderr)
        return done

    def _slowness(self) -> float:
        """How many times as long as on an idle machine the start of a command takes now."""
        return self._start_up() / _START_UP_SECONDS

    def _start_up(self) -> float:
        begun = time.monotonic()
        self.up.gridflow("status", "--help")
        return time.monotonic() - begun

    def refused(self, hung: str, *command: str) -> str:
        """The one sentence of a command that cannot do its work while a part of the stack hangs.

        On a busy machine the part may have been started again before the command looked: then it hangs once more.
        """
        for _ in range(BUSY):
            self.freeze(hung)
            done = self.ask(*command)
            if done.returncode != 0:
                break
        assert (done.returncode, done.stdout) == (1, ""), command
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("Error: "), done.stderr
        return line

    def ticks(self) -> int:
        """Of all symbols; 0 while Valkey is being started again."""
        record = read_record(self.state)
        assert record is not None
        with sync_redis.Redis.from_url(record.redis, decode_responses=True) as client:
            try:
                counted: Any = client.hgetall(Keys("main").stats)
            except sync_redis.RedisError:
                return 0
        return sum(int(count) for name, count in counted.items() if name.startswith("ticks|"))

    def orders(self) -> int:
        """Journalled orders of all symbols."""
        record = read_record(self.state)
        assert record is not None
        with sync_redis.Redis.from_url(record.redis) as client:
            return sum(int(client.hlen(Keys("main").intents(symbol))) for symbol in ("BTC/USDT", "ETH/USDT"))

    def goes_on(self) -> None:
        """Each symbol is ticked again, and the pot is right."""
        before = until(self.ticks, 40)
        until(lambda: self.ticks() > before + 4, 40)
        audits = (self.up.gridflow("funds", "audit", "--no-exchange", "--json").stdout for _ in range(3))
        assert any(json.loads(said)["ok"] for said in audits)

    def stop(self, *options: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """`gridflow stop --json`: what it printed, the summary of `up`, what it said meanwhile."""
        stopped = self.up.gridflow("stop", "--json", *options)
        out, _ = self.up.process.communicate(timeout=60)
        summary = json.loads(out) if out else {}
        return json.loads(stopped.stdout) | {"code": stopped.returncode}, summary, stopped.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that trades two symbols; whatever is left of it is ended."""
    folder = tmp_path_factory.mktemp("hung")
    try:
        yield Stack(folder)
    finally:
        for process in processes_of(folder / "state"):
            with suppress(psutil.NoSuchProcess):  # it ended with another one
                process.kill()
        remove(folder / "state")


def books_are_exact(summary: dict[str, Any]) -> None:
    """By the last line of `up`."""
    assert summary["identity_error"] == "0"
    assert summary["reservations_open_after_stop"] == 0
    assert summary["orders_open_after_stop"] == 0


def test_a_typo_in_the_file_disables_no_command(stack: Stack) -> None:
    """The stack's own record of its settings is used; the file's fault is a warning."""
    for command in (["status", "--json"], ["pause", "ETH/USDT"], ["resume"], ["rebalance"]):
        done = stack.up.gridflow(*command, "--config", str(stack.typo))
        assert done.returncode == 0, done.stderr
        assert "Warning: 1 problem(s) in" in done.stderr
        assert "The stack runs on with the settings that it started with." in done.stderr
        if command[0] == "status":
            told = json.loads(done.stdout)
            assert [one["symbol"] for one in told["symbols"]] == ["BTC/USDT", "ETH/USDT"]
    assert "secret" not in (stack.state / "stack.json").read_text()


def test_a_valkey_that_hangs(stack: Stack) -> None:
    """Every command that needs it says so, the worker's log soon after; it is started again."""
    log = stack.state / "logs" / "worker.log"
    size = log.stat().st_size
    lines = [
        stack.refused("Valkey", *command) for command in (["status"], ["pause"], ["rebalance"], ["funds", "audit"])
    ]
    for line in lines:
        assert "Valkey at redis://127.0.0.1:" in line
        assert "does not answer" in line
        assert "gridflow stop --force" in line
    assert any("does not answer since" in line for line in lines), "by then the supervisor knows since when"
    until(lambda: "Redis does not answer" in log.read_text()[size:], 10)
    stack.up.wait_said("Valkey has not answered for 15 s: starting it again")
    stack.up.wait_said("Valkey ready again")
    stack.goes_on()


def test_a_postgres_that_hangs(stack: Stack) -> None:
    """What needs Prefect says so; trading does not, and goes on; windows are run by Prefect again afterwards."""
    stack.freeze("PostgreSQL")
    assert stack.ask("status").returncode in (0, EXIT_DARK)  # a busy machine may tick late
    for command in ("rebalance", "deploy"):
        assert "does not answer" in stack.refused("PostgreSQL", command)
    stack.up.wait_said("PostgreSQL has not answered for 15 s")
    stack.up.wait_said("PostgreSQL ready again")
    until(lambda: stack.up.gridflow("rebalance", "--json").returncode == 0, 40)
    stack.goes_on()


def test_a_prefect_server_and_a_worker_that_hang(stack: Stack) -> None:
    """What needs Prefect says so; status answers, and says who does not."""
    stack.freeze("Worker")
    for command in ("rebalance", "deploy"):
        assert "Prefect server at http://127.0.0.1:" in stack.refused("Prefect server", command)

    def told() -> bool:
        stack.freeze("Worker")  # again, where a slow machine has taken so long that it was started again meanwhile
        return "Worker does not answer since" in stack.ask("status").stderr

    until(told, 40)
    for name in ("Prefect server", "Worker"):
        stack.up.wait_said(f"{name} has not answered for 15 s")
        stack.up.wait_said(f"{name} ready again")
    until(lambda: stack.up.gridflow("rebalance", "--json").returncode == 0, 40)
    stack.goes_on()


def test_a_stop_while_valkey_hangs(stack: Stack) -> None:
    """It says every few seconds what it waits for, and ends in order with exact books."""
    stack.freeze("Valkey")
    told, summary, said = stack.stop()
    assert told == {"stopped": True, "orders_open": [], "reserved": "0", "kept": False, "code": 0}, said
    assert "Progress for the worker to cancel open orders and end" in said
    assert "Valkey does not answer since" in said
    books_are_exact(summary)


@pytest.fixture
def run(stack: Stack) -> Up:
    """A run that trades: the one under way, or the next one."""
    return stack.running()


def test_a_stop_while_all_but_valkey_hang(stack: Stack, run: Up) -> None:
    """Orders are cancelled long before Prefect is back; the stop ends in order with exact books."""
    for name in ("Worker", "Prefect server", "PostgreSQL"):
        stack.freeze(name)
    with ThreadPoolExecutor() as shell:
        stopping = shell.submit(stack.stop)
        until(lambda: stack.orders() == 0, 30)
        assert "Prefect server ready again" not in run.said
        told, summary, said = stopping.result()
    assert told == {"stopped": True, "orders_open": [], "reserved": "0", "kept": False, "code": 0}, said
    books_are_exact(summary)


def test_a_forced_stop_names_the_orders_of_a_journal_that_cannot_be_read(stack: Stack, run: Up) -> None:
    """Everything ends within seconds."""
    until(lambda: bool(json.loads((stack.state / "open_orders.json").read_text())["orders_open"]), 20)
    stack.freeze("Valkey")
    begun = time.monotonic()
    forced = run.gridflow("stop", "--force", "--json")
    assert time.monotonic() - begun < 20 * BUSY
    assert forced.returncode == 1
    told = json.loads(forced.stdout)
    assert (told["stopped"], bool(told["orders_open"])) == (False, True)
    assert "order(s) may be open (as of " in forced.stderr
    run.process.communicate(timeout=60)
    assert processes_of(stack.state) == []


def test_the_run_after_a_forced_stop_finds_the_orders(stack: Stack, run: Up) -> None:
    """And ends with exact books, whatever the settings file says by then."""
    told, summary, said = stack.stop("--config", str(stack.typo))
    assert told["code"] == 0, said
    assert "Warning: " in said
    books_are_exact(summary)
