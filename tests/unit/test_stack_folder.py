"""A state folder: its ports stay, its progress is told, its log is readable, and it can be deleted."""

import asyncio
import json
import logging
import os
import socket
import sqlite3
import stat
import time
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from flows.runtime.commands.audit_commands import show_audit
from flows.runtime.commands.option_types import usable_state
from flows.runtime.commands.stack_commands import known_symbol
from flows.runtime.stack import milestones
from flows.runtime.stack.last_status import read_last_status, write_last_status
from flows.runtime.stack.operator_log import OperatorLog
from flows.runtime.stack.ports import PortClaims
from flows.runtime.stack.progress import QUIET_SECONDS, NoSilence
from flows.runtime.stack.remembered_ports import StackPorts
from tasks.base.errors import ConfigError, ExchangeUnavailable
from tasks.base.log_setup import ExpectedFaultFilter, setup
from tasks.base.redis_client import connect
from tasks.ledger.audit import AuditReport, Cause, Difference
from tasks.settings.logs import OPERATOR_LOG
from tasks.settings.model import Settings
from tests.support.views import status, symbol


def test_ports_stay_from_start_to_start(tmp_path: Path) -> None:
    """Also a port that was only a way out; a taken one is told with the new URL, and the new one stays."""
    said: list[str] = []
    claims = PortClaims()
    first = StackPorts(tmp_path, claims, said.append)
    usual = claims.claim()
    claims.close()
    port = first.claim("Dashboard", usual)
    first.write()
    claims.close()
    assert (port, said) == (usual, [])
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        second = StackPorts(tmp_path, claims, said.append)
        moved = second.claim("Dashboard", 1)
        redis = second.claim("Valkey", port, "redis")
        second.write()
    claims.close()
    assert said == [
        f"Port {port} is taken: Dashboard answers on http://127.0.0.1:{moved} from now on",
        f"Port {port} is taken: Valkey answers on redis://127.0.0.1:{redis} from now on",
    ]
    assert StackPorts(tmp_path, claims, said.append).claim("Dashboard", usual) == moved
    claims.close()
    (tmp_path / "ports.json").write_text("[broken", encoding="utf-8")
    assert StackPorts(tmp_path, claims, said.append).claim("Dashboard", usual) == usual
    claims.close()


@pytest.mark.virtual_time
async def test_a_silence_is_broken_while_something_is_waited_for() -> None:
    """Within three seconds, with what it is; nothing is told where nothing is waited for."""
    waiting = ["starting Prefect server"]
    said: list[str] = []
    say = NoSilence(said.append, lambda: waiting)
    task = asyncio.create_task(say.keep())
    assert QUIET_SECONDS < 3
    say("Valkey ready")
    for _ in range(100):
        await asyncio.sleep(0)
        say._said_at -= QUIET_SECONDS  # as if that long had passed
        await asyncio.sleep(QUIET_SECONDS / 5)
        if len(said) > 1:
            break
    assert said[0] == "Valkey ready"
    assert said[1].startswith("  … starting Prefect server (")
    waiting.clear()
    say._said_at -= 60
    await asyncio.sleep(QUIET_SECONDS)
    assert len(said) == 2
    task.cancel()


def test_what_the_stack_says_and_what_its_processes_log_stand_in_one_file(tmp_path: Path) -> None:
    """A line each; a traceback only where the program is at fault."""
    said: list[str] = []
    say = OperatorLog(tmp_path, said.append)
    say("Worker ready (3.0 s)")
    say("  … starting Dashboard (5 s)")
    setup([], "worker", operator=tmp_path / OPERATOR_LOG)
    log = logging.getLogger("tasks.test")
    try:
        for error in (ExchangeUnavailable("no answer"), ConnectionRefusedError("refused"), KeyError("fault")):
            try:
                raise error
            except (ExchangeUnavailable, OSError, KeyError):
                log.exception("look failed", extra={"symbol": "BTC/USDT"})
    finally:
        setup([], "test")
    text = (tmp_path / OPERATOR_LOG).read_text(encoding="utf-8")
    assert len(said) == 2
    assert "stack Worker ready (3.0 s)" in text
    assert "…" not in text
    assert "look failed symbol=BTC/USDT error=ExchangeUnavailable: no answer" in text
    assert "error=ConnectionRefusedError: refused" in text
    assert text.count("Traceback") == 1
    assert "KeyError: 'fault'" in text


def test_a_field_named_error_is_kept() -> None:
    """The caller's own words come first."""
    record = logging.makeLogRecord({"exc_info": (OSError, OSError("x"), None), "error": "in words"})
    assert ExpectedFaultFilter().filter(record)
    assert (record.exc_info, vars(record)["error"]) == (None, "in words")


def test_destroy_asks_and_deletes_all_that_belongs_to_the_folder(tmp_path: Path) -> None:
    """Also the PostgreSQL data that root keeps elsewhere; nothing else."""
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere" / "postgres"
    state.mkdir()
    elsewhere.mkdir(parents=True)
    (state / "history.db").touch()
    (state / "postgres.json").write_text(json.dumps({"data": str(elsewhere), "password": "x"}), encoding="utf-8")
    asked = CliRunner().invoke(cli, ["destroy", "--state", str(state)], input="n\n")
    assert asked.exit_code == 1
    assert f"Delete these for ever?\n  {state}\n  {elsewhere}" in asked.stderr
    assert state.exists()
    done = CliRunner().invoke(cli, ["destroy", "--state", str(state), "--yes", "--json"])
    assert json.loads(done.stdout) == {"deleted": [str(state), str(elsewhere)]}
    assert not state.exists()
    assert not elsewhere.exists()
    assert tmp_path.exists()


@pytest.mark.parametrize(("name", "rule"), [("none", "no such folder"), (".", "this is no state folder")])
def test_destroy_refuses_other_folders(tmp_path: Path, name: str, rule: str) -> None:
    """A missing one, and one that Gridflow did not make."""
    (tmp_path / "thesis.tex").touch()
    found = CliRunner().invoke(cli, ["destroy", "--state", str(tmp_path / name), "--yes"]).exception
    assert isinstance(found, ConfigError)
    assert rule in str(found)
    assert (tmp_path / "thesis.tex").exists()


def test_a_stopped_stack_shows_its_last_known_figures_and_when(tmp_path: Path) -> None:
    """As a table and as JSON; a file of another version is passed over."""
    write_last_status(tmp_path, status(symbol(base=Decimal("0.25"), place=Decimal("0.5")), equity=Decimal("10123.45")))
    shown = CliRunner().invoke(cli, ["status", "--state", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "No stack runs on" in shown.stderr
    assert "The last known figures, of 20" in shown.stdout
    assert "10,123.45" in shown.stdout
    told = json.loads(CliRunner().invoke(cli, ["status", "--state", str(tmp_path), "--json"]).stdout)["last_known"]
    assert told["at"].endswith(" UTC")
    assert [one["base"] for one in told["status"]["symbols"]] == ["0.25"]
    (tmp_path / "last_status.json").write_text('{"at": "x", "view": {"moon": 1}}', encoding="utf-8")
    assert read_last_status(tmp_path) is None
    assert CliRunner().invoke(cli, ["status", "--state", str(tmp_path)]).exit_code == 1


def test_a_history_that_another_process_holds_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The status comes without the results, and says why."""
    write_last_status(tmp_path, status(symbol()))
    held = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    try:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        shown = CliRunner().invoke(cli, ["status", "--state", str(tmp_path)])
        assert time.monotonic() - begun < 6, "a writer waits ten seconds"
    finally:
        held.close()
    assert shown.exit_code == 0, shown.output
    assert "The history was not read: the history database" in shown.stderr
    assert "database is locked" in shown.stderr


def test_without_redis_the_json_says_so_beside_the_last_known_figures(tmp_path: Path) -> None:
    """For programs: the outage as in a status that was read, and exit code 1."""
    write_last_status(tmp_path, status(symbol()))
    away = {"GRIDFLOW_REDIS_URL": "redis://127.0.0.1:9/0"}
    shown = CliRunner().invoke(cli, ["status", "--state", str(tmp_path), "--json"], env=away)
    assert shown.exit_code == 1
    told = json.loads(shown.stdout)
    (outage,) = told["outages"]
    assert outage.startswith("Redis: Redis does not answer as it should.")
    assert told["last_known"]["status"]["symbols"]


@pytest.mark.parametrize(("seconds", "stops"), [(None, True), (60.0, False)])
async def test_a_replay_that_ends_says_so_and_ends_a_run_without_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, stops: bool
) -> None:
    """Said once; with --for, the run goes on to its time."""
    said: list[str] = []
    looks = iter((False, True))

    async def finished(*_: object) -> bool:
        return next(looks)

    monkeypatch.setattr(milestones, "recording_finished", finished)
    monkeypatch.setattr(milestones, "RECORDING_SECONDS", 0.001)
    stop = asyncio.Event()
    run = milestones.Milestones(Settings(), said.append, seconds, stop)
    await run.watch_recording(connect("redis://127.0.0.1:1/0"))
    assert said == ["Recording finished: every symbol has reached its last candle, and prices change no more"]
    assert stop.is_set() is stops
    assert run.ended_because == ("recording finished" if stops else "asked to stop")


@pytest.mark.parametrize("text", ["BTC/USDT", "btc-usdt", "BTCUSDT", "btc"])
def test_a_symbol_may_be_named_in_many_ways(text: str) -> None:
    """As people type it."""
    assert known_symbol(text, ["ETH/USDT", "BTC/USDT"]) == "BTC/USDT"
    assert known_symbol("DOGE", ["BTC/USDT"]) is None


def test_the_audit_shows_no_differences_beside_a_pot_that_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no error is told in words; errors have their amounts with units."""
    ended = Difference(subject="o1", cause=Cause.LOST_ORDER, found=Decimal(0), expected=Decimal(5))
    wrong = Difference(subject="pot", cause=Cause.POT_USED, found=Decimal("1.50"), expected=Decimal(2))
    right, bad = AuditReport(differences=(ended,), repairs=()), AuditReport(differences=(wrong,), repairs=())
    show_audit(right, right, False, "USDT", True)
    told = capsys.readouterr().out
    assert told.startswith(
        "The pot is right. Compared: the money that is committed, with journal, cells and fills, and"
    )
    assert "Differences" not in told
    assert "No error: o1: a journalled order no longer rests on the exchange" in told
    show_audit(bad, right, True, "USDT", True)
    told = " ".join(capsys.readouterr().out.split())
    assert "Differences (amounts in USDT" in told
    assert "Repaired: 1 difference(s) corrected" in told
    assert "The pot is right" not in told


def test_a_new_state_folder_can_hold_the_data_of_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's may be passed through, and nobody but the owner may list it; another user's is closed."""
    for user, mode in ((0, 0o711), (1000, 0o700)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        folder = usable_state(tmp_path / str(user) / "state")
        assert stat.S_IMODE(folder.stat().st_mode) == mode
        assert list(folder.iterdir()) == []
