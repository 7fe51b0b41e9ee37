"""What workers do after an outage: many windows are overdue, none of them is executed, the newest are traded."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runtime.worker.deploy import deploy
from flows.runtime.worker.deployments import PlannedDeployment
from flows.runtime.worker.startup import delete_late_windows
from tests.support.count_polls import polls_of
from tests.support.prefect_backlog import copy_each_minute_before
from tests.support.prefect_stack import PrefectStack, prefect_stack
from tests.support.prefect_worker import ENDS, prefects_own_worker
from tests.support.waiting import until

_SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
_TICKS = ("grid-tick/btc-usdt", "grid-tick/eth-usdt", "grid-tick/bnb-usdt")
_OTHER = "write-file/manual"
_WINDOW = 600  # seconds; a run that is due now stays in time however busy the machine is
_POLL = "/work_pools/gridflow/get_scheduled_flow_runs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectStack]:
    """One server for this module."""
    with prefect_stack(tmp_path_factory.mktemp("prefect") / "state") as stack:
        yield stack


@pytest.fixture(autouse=True)
def deployed(server: PrefectStack) -> Iterator[None]:
    """Three tick deployments without a schedule, and one of another flow."""
    server.delete_everything()
    stub = "tests.support.stub_flows"
    plan = [
        PlannedDeployment(name, f"{stub}.grid_tick", {"symbol": symbol, "seconds": 1})
        for name, symbol in zip(_TICKS, _SYMBOLS, strict=True)
    ]
    with temporary_settings({PREFECT_API_URL: server.api}):
        asyncio.run(deploy([*plan, PlannedDeployment(_OTHER, f"{stub}.write_file")]))
        yield


def _schedule(server: PrefectStack, deployment: str, seconds_ago: float, name: str = "Scheduled") -> str:
    """Create a run that was due then; its id."""
    due = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
    body = {"state": {"type": "SCHEDULED", "name": name, "state_details": {"scheduled_time": due}}}
    found = server.deployments()[deployment]["id"]
    with server.client() as client:
        answer = client.post(f"/deployments/{found}/create_flow_run", json=body)
    return str(answer.raise_for_status().json()["id"])


def _outage(server: PrefectStack, windows: int, marked: bool = True) -> set[str]:
    """That many overdue windows, one a minute for each symbol. Ids of one more for each, whose time is not over.

    `marked`: the server has run all the while and set each to Late; else it has just come back, and does so meanwhile.
    """
    copies = windows // len(_TICKS) - 1
    for name in _TICKS:
        newest = _schedule(server, name, 1.5 * _WINDOW, "Late" if marked else "Scheduled")
        asyncio.run(copy_each_minute_before(server.database_url, newest, copies))
    return {_schedule(server, name, 5) for name in _TICKS}


def _left(server: PrefectStack) -> set[str]:
    """Ids of every run that the server holds."""
    with server.client() as client:
        page = client.post("/flow_runs/filter", json={"limit": 200}).raise_for_status().json()
    assert len(page) < 200
    return {str(run["id"]) for run in page}


def test_the_first_poll_drops_1200_overdue_windows_and_takes_the_newest(server: PrefectStack) -> None:
    """In some 40 API calls, before anything is submitted. A run of another flow is late and yet executed."""
    wanted = _outage(server, 1200) | {_schedule(server, _OTHER, 3600)}
    first, second = polls_of(workers=1, polls=2, window_seconds=_WINDOW)
    assert set(first["taken"][0]) == wanted
    assert len(first["calls"]) <= 42, first["calls"]
    assert _left(server) == wanted
    assert second["calls"][:1] == [_POLL]


def test_a_poll_without_overdue_windows_costs_one_call(server: PrefectStack) -> None:
    """As many as Prefect's own worker makes."""
    fresh = {_schedule(server, name, 5) for name in _TICKS}
    for poll in polls_of(workers=1, polls=2, window_seconds=_WINDOW):
        assert (set(poll["taken"][0]), poll["calls"]) == (fresh, [_POLL])


def test_two_workers_may_drop_the_same_windows_at_once(server: PrefectStack) -> None:
    """Neither fails, neither takes an overdue window, nothing of them is left."""
    fresh = _outage(server, 600)
    [poll] = polls_of(workers=2, polls=1, window_seconds=_WINDOW)
    assert set().union(*poll["taken"]) == fresh
    assert _left(server) == fresh


def test_a_started_worker_trades_at_once_and_again_after_the_next_outage(server: PrefectStack, tmp_path: Path) -> None:
    """Started with Prefect's own command. No overdue window is executed, and one line says how many were dropped."""
    log = tmp_path / "own-worker.log"
    fresh = _outage(server, 600)

    def ended(runs: set[str]) -> bool:
        with server.client() as client:
            states = [client.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"] for run in runs]
        return all(state in ENDS for state in states)

    with prefects_own_worker(server, tmp_path, GRIDFLOW_TRADING__WINDOW_SECONDS=str(_WINDOW)):
        until(lambda: ended(fresh), 60)
        assert _left(server) == fresh
        assert log.read_text().count("Deleted 600 overdue windows") == 1
        again = _outage(server, 300)
        until(lambda: ended(again), 20)
        until(lambda: _left(server) == fresh | again, 20)
    assert "Prefect API call failed" not in log.read_text()


def test_the_one_machine_stack_deletes_every_window_that_is_due(server: PrefectStack) -> None:
    """It starts windows of its own. Runs of other flows and windows that are not due yet stay."""
    _outage(server, 120, marked=False)
    kept = {_schedule(server, _OTHER, 3600), _schedule(server, _TICKS[0], -600)}
    asyncio.run(delete_late_windows("gridflow"))
    assert _left(server) == kept
