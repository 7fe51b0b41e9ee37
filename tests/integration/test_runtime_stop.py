"""Ctrl-C before the first tick, Ctrl-C twice, and two stacks on one machine."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis as sync_redis

from flows.runtime.stack.postgres import remove
from tasks.settings.running import read_record
from tests.support.prefect_stack import copy_tables
from tests.support.up import GRIDFLOW, Up, processes_of

_IDLE = ("--worker", "tests.support.idle_worker")


def _clear(state: Path) -> None:
    for process in processes_of(state):
        process.kill()
    remove(state)


def _nothing_is_left(up: Up) -> None:
    assert processes_of(up.state) == []
    assert read_record(up.state) is None
    assert "starting it again" not in up.said


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder; whatever still runs on it is ended, its data removed."""
    yield tmp_path / "state"
    _clear(tmp_path / "state")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, Up]]:
    """Two stacks that wait for a first tick; the worker of the second does not end when asked to."""
    one, other = (tmp_path_factory.mktemp(name) / "state" for name in ("one", "other"))
    try:
        for folder in (one, other):
            copy_tables(folder)
        (other / "stubborn").touch()
        ups = Up(one, *_IDLE), Up(other, *_IDLE, "--for", "25")
        for up in ups:
            up.wait_said("Worker ready")
            up.wait_said("Prefect server ready")
        yield ups
        for up in ups:
            up.process.communicate(timeout=60)
    finally:
        _clear(one)
        _clear(other)


def test_grids_that_cannot_start_end_the_stack_with_all_that_is_wrong(state: Path) -> None:
    """Little money in many cells: one message that names every grid, exit code 2, nothing left behind."""
    state.parent.mkdir(parents=True, exist_ok=True)
    config = state.parent / "small.toml"
    config.write_text('total_funds = "100"\n', encoding="utf-8")
    up = Up(state, "--config", str(config), "--market", "synthetic", command=(GRIDFLOW, "up", "--state", str(state)))
    up.process.communicate(timeout=240)
    assert up.process.returncode == 2, up.said
    end = up.said[up.said.index("3 problem(s)") :]
    assert all(f'symbols."{name}/USDT".quote_per_cell' in end for name in ("BTC", "ETH", "BNB"))
    assert "below the exchange's minimum" in end
    assert "Traceback" not in up.said
    _nothing_is_left(up)


def test_ctrl_c_while_starting_stops_in_order(state: Path) -> None:
    """What has started is ended, nothing else is started, nobody waits for a first tick."""
    up = Up(state)
    up.wait_said("Valkey ready")
    summary = up.end(signal.SIGINT)
    assert summary["stopped_in_order"] is True
    assert summary["first_tick_seconds"] is None
    assert "Worker ready" not in up.said
    _nothing_is_left(up)


def test_ctrl_c_twice_while_starting_ends_everything_at_once(state: Path) -> None:
    """Nothing was traded, so this too is an orderly end."""
    up = Up(state)
    up.wait_said("PostgreSQL ready")
    assert up.end(signal.SIGINT, signal.SIGINT)["stopped_in_order"] is True
    _nothing_is_left(up)


def test_ctrl_c_while_the_real_stack_starts(state: Path) -> None:
    """`gridflow up --for` as a user runs it, seconds after its start."""
    arguments = ("up", "--json", "--for", "25", "--market", "synthetic", "--state", str(state))
    up = Up(state, command=(GRIDFLOW, *arguments))
    up.wait_said("PostgreSQL ready")
    time.sleep(2)  # the worker imports, the Prefect server makes its tables
    summary = up.end(signal.SIGINT)
    assert (summary["stopped_in_order"], summary["first_tick_seconds"]) == (True, None)
    assert summary["orders_open_after_stop"] == 0
    _nothing_is_left(up)


def test_two_stacks_stand_side_by_side(pair: tuple[Up, Up]) -> None:
    """No port is shared, and `status --json` of each folder names the servers of that folder."""
    ports: list[int | None] = []
    for up in pair:
        urls = json.loads(up.gridflow("status", "--json").stdout)["urls"]
        assert urls["prefect_ui"] == urls["prefect_api"].removesuffix("/api")
        ports += [urlsplit(urls[name]).port for name in ("redis", "prefect_api")]
        with sync_redis.Redis.from_url(urls["redis"], decode_responses=True) as client:
            assert Path(client.config_get("dir")["dir"]) == up.state / "valkey"
        settings = httpx.get(f"{urls['prefect_api']}/admin/settings", trust_env=False).json()
        assert settings["home"] == str(up.state / "prefect")
    assert len(set(ports)) == 4


def test_ctrl_c_before_any_tick_stops_in_order(pair: tuple[Up, Up]) -> None:
    """A stack whose first tick never comes can be stopped, and the one beside it goes on."""
    up, other = pair
    assert up.end(signal.SIGINT)["stopped_in_order"] is True
    _nothing_is_left(up)
    assert other.process.poll() is None


def test_ctrl_c_twice_ends_what_does_not_end_in_order(pair: tuple[Up, Up]) -> None:
    """The worker took runs and was killed: the summary says that the end was not in order."""
    _, up = pair
    assert up.end(signal.SIGINT, signal.SIGINT)["stopped_in_order"] is False
    _nothing_is_left(up)
