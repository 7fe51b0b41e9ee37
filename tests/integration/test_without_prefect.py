"""Trading goes on through a dead, frozen or draining worker, and without Prefect: real workers, one Prefect server."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runtime.stack.prefect_server import EVENT_HOURS
from flows.runtime.worker import orphans
from flows.runtime.worker.deployments import ANCHOR
from flows.runtime.worker.housekeeping import Housekeeping
from flows.runtime.worker.old_runs import OldRuns
from flows.runtime.worker.past_windows import PastWindows
from tasks.base.deployment_names import DeploymentNames
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings
from tasks.tick.heartbeat import Heartbeat, beat
from tasks.tick.models import WindowReport
from tests.support import real_workers
from tests.support.prefect_stack import PrefectStack, prefect_stack
from tests.support.real_workers import RealWorker
from tests.support.symbol_watch import SYMBOLS, SymbolWatch
from tests.support.up import GRIDFLOW
from tests.support.waiting import BUSY, until

TAKE_OVER_SECONDS = 15 * BUSY  # the lease and five seconds; Prefect's next window is minutes away
HAND_OVER_SECONDS = 5 * BUSY


def quiet_window_seconds(now: datetime) -> int:
    """A window length with which Prefect hands no window of the two symbols out within the next ten minutes."""
    passed = (now - ANCHOR).total_seconds()

    def quiet(seconds: int) -> float:
        return min(-passed % seconds, (seconds / 2 - passed) % seconds)

    return max(range(2400, 3600, 60), key=quiet)


SETTINGS = real_workers.SETTINGS.replace(
    "window_seconds = 10", f"window_seconds = {quiet_window_seconds(datetime.now(UTC))}"
)
PREFECT = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "gridflow", "--type", "gridflow")
TICK = ("grid-tick/btc-usdt", "grid-tick/eth-usdt")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectStack]:
    """One server for this module."""
    with prefect_stack(tmp_path_factory.mktemp("prefect") / "state") as stack:
        yield stack


@pytest.fixture
def deployed(server: PrefectStack, redis_url: str, tmp_path: Path) -> PrefectStack:
    """The server with the deployments of two symbols; the next scheduled windows are minutes away."""
    server.delete_everything()
    config = tmp_path / "gridflow.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    command = [GRIDFLOW, "deploy", "--config", str(config), "--state", str(tmp_path / "none"), "--retention", "3"]
    own = server.environment | {"GRIDFLOW_REDIS_URL": redis_url}
    done = subprocess.run(command, env=own, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert f"Runs stay for 3 days, events for {EVENT_HOURS} hours" in done.stderr
    return server


@pytest.fixture
def watch(redis_url: str) -> Iterator[SymbolWatch]:
    """What the workers do, seen from outside."""
    found = SymbolWatch(redis_url)
    yield found
    found.close()


@pytest.fixture
def workers(deployed: PrefectStack, redis_url: str, tmp_path: Path) -> Iterator[list[RealWorker]]:
    """Two workers, one started with Prefect's own command."""
    both = [
        RealWorker(deployed, redis_url, tmp_path, *PREFECT, settings=SETTINGS),
        RealWorker(deployed, redis_url, tmp_path, settings=SETTINGS),
    ]
    yield both
    for each in both:
        each.close()
        print(each.said)


@pytest.fixture
def worker(deployed: PrefectStack, redis_url: str, tmp_path: Path) -> Iterator[RealWorker]:
    """One worker."""
    one = RealWorker(deployed, redis_url, tmp_path, settings=SETTINGS)
    yield one
    one.close()
    print(one.said)


def pids(workers: list[RealWorker]) -> list[int]:
    """Their process ids."""
    return [each.process.pid for each in workers]


def test_another_worker_takes_over_from_a_frozen_a_draining_and_a_killed_one(
    workers: list[RealWorker], watch: SymbolWatch, deployed: PrefectStack, redis_url: str, tmp_path: Path
) -> None:
    """Within the lease and five seconds; at once where the worker drains. Prefect hands nothing out meanwhile."""
    until(lambda: watch.are_with(*pids(workers)), 60, "the first windows")
    watch.wait_ticking()
    victim = watch.windows()[SYMBOLS[0]]
    (other,) = [each for each in workers if each.process.pid != victim]
    (dead,) = [each for each in workers if each.process.pid == victim]

    os.kill(victim, signal.SIGSTOP)
    assert watch.longest_gap(lambda: watch.are_with(other.process.pid)) <= TAKE_OVER_SECONDS
    os.kill(victim, signal.SIGCONT)
    watch.wait_ticking()
    until(lambda: len(watch.workers()) == 2, 20, "the worker that was frozen")

    other.process.send_signal(signal.SIGTERM)
    assert watch.longest_gap(lambda: watch.are_with(victim)) <= HAND_OVER_SECONDS
    assert other.process.wait(60) == 0, other.said

    third = RealWorker(deployed, redis_url, tmp_path, settings=SETTINGS)
    try:
        until(lambda: len(watch.workers()) == 2, 60, "the third worker")
        dead.close()
        assert watch.longest_gap(lambda: watch.are_with(third.process.pid)) <= TAKE_OVER_SECONDS
        watch.wait_ticking()
    finally:
        third.close()


def test_a_symbol_goes_on_whatever_an_operator_does_to_its_run_deployment_or_pool(
    worker: RealWorker, watch: SymbolWatch, deployed: PrefectStack
) -> None:
    """Suspended, cancelled, foreign parameters, deleted; what is broken is mended, what is paused stays paused."""
    until(lambda: watch.are_with(worker.process.pid), 60, "the first windows")
    btc, eth = (deployed.deployments()[name] for name in TICK)
    with deployed.client() as client:

        def state(run: str) -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
            return found

        def start(deployment: dict[str, Any]) -> str:
            body = {"state": {"type": "SCHEDULED"}}
            answer = client.post(f"/deployments/{deployment['id']}/create_flow_run", json=body)
            return str(answer.raise_for_status().json()["id"])

        runs = [start(each) for each in (btc, eth)]
        until(lambda: set(watch.windows(own=False)) == set(SYMBOLS) and not watch.windows(own=True), 30, "Prefect's")
        suspended = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
        for run, wanted in zip(runs, (suspended, {"type": "CANCELLING"}), strict=True):
            client.post(f"/flow_runs/{run}/set_state", json={"state": wanted}).raise_for_status()
        assert watch.longest_gap(lambda: set(watch.windows(own=True)) == set(SYMBOLS)) <= TAKE_OVER_SECONDS
        until(lambda: [state(run)["type"] for run in runs] == ["CANCELLED", "CANCELLED"], 10)

        foreign = {"enforce_parameter_schema": False, "parameters": {"symbol": "FOO/BAR", "bogus": 1}}
        client.patch(f"/deployments/{btc['id']}", json=foreign).raise_for_status()
        broken = start(btc)
        client.delete(f"/deployments/{eth['id']}").raise_for_status()
        client.patch("/work_pools/gridflow", json={"concurrency_limit": 1}).raise_for_status()
        gap = watch.longest_gap(lambda: len(watch.events("deployments_mended")) > 0)
        assert gap <= TAKE_OVER_SECONDS
        assert state(broken)["type"] == "FAILED"
        assert "no parameter bogus" in state(broken)["message"]
        mended = deployed.deployments()
        assert mended[TICK[0]]["parameters"] == {"symbol": "BTC/USDT", "account": "main"}
        assert mended[TICK[0]]["enforce_parameter_schema"] is True
        assert TICK[1] in mended
        until(lambda: "at most 1 runs at once, but 3 are needed" in worker.said, 30)

        client.patch(f"/deployments/{mended[TICK[1]]['id']}", json={"paused": True}).raise_for_status()
        until(lambda: set(watch.windows()) == {SYMBOLS[0]}, 40, "the pause")
        client.delete("/work_pools/gridflow").raise_for_status()
        until(lambda: len(watch.events("deployments_mended")) > 1, 60, "the pool")
    after = deployed.deployments()
    assert {after[name]["work_pool_name"] for name in TICK} == {"gridflow"}
    assert [after[name]["paused"] for name in TICK] == [False, True], "a pause was lifted"
    assert set(watch.windows()) == {SYMBOLS[0]}


def test_windows_go_on_while_the_server_is_away(
    worker: RealWorker, watch: SymbolWatch, deployed: PrefectStack, redis_url: str, tmp_path: Path
) -> None:
    """The status says so. What was paused stays paused. Back within five seconds of the server's return."""
    until(lambda: watch.are_with(worker.process.pid), 60, "the first windows")
    eth = deployed.deployments()[TICK[1]]
    with deployed.client() as client:
        client.patch(f"/deployments/{eth['id']}", json={"paused": True}).raise_for_status()
    until(lambda: set(watch.windows()) == {SYMBOLS[0]}, 40, "the pause")
    deployed.kill_server()
    until(lambda: watch.workers()[0]["prefect_away_since_ms"], 30, "the outage to be seen")
    watch_btc = SymbolWatch(redis_url, SYMBOLS[:1])
    began = time.monotonic()
    assert watch_btc.longest_gap(lambda: time.monotonic() > began + 6) <= HAND_OVER_SECONDS
    watch_btc.close()
    assert set(watch.windows(own=True)) == {SYMBOLS[0]}, "a symbol that was paused in Prefect runs"
    status = gridflow_status(redis_url, tmp_path)
    assert "BTC/USDT (without Prefect since" in status
    assert "ETH/USDT (paused in Prefect)" in status
    assert "Prefect: the server does not answer the workers, since" in status
    deployed.start_server()
    with deployed.client() as client:
        btc = deployed.deployments()[TICK[0]]["id"]
        body = {"state": {"type": "SCHEDULED"}}
        client.post(f"/deployments/{btc}/create_flow_run", json=body).raise_for_status()
        until(lambda: set(watch.windows(own=False)) == {SYMBOLS[0]}, 5, "a window of Prefect's")
        until(lambda: not watch.windows(own=True), 10, "the own window to end")


def test_a_draining_worker_gives_back_what_it_has_fetched_and_not_begun(
    deployed: PrefectStack, redis_url: str, tmp_path: Path
) -> None:
    """The run is Scheduled again for its own time, for another worker to take."""
    worker = RealWorker(deployed, redis_url, tmp_path, settings=SETTINGS)
    try:
        worker.wait_started()
        due = datetime.now(UTC) + timedelta(seconds=30)
        body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}}
        with deployed.client() as client:
            found = deployed.deployments()["log-status/five-minutes"]["id"]
            answer = client.post(f"/deployments/{found}/create_flow_run", json=body)
            run = f"/flow_runs/{answer.raise_for_status().json()['id']}"
            until(lambda: client.get(run).json()["state"]["type"] == "PENDING", 60, "the worker to fetch the run")
            assert worker.end() == 0, worker.said
            given_back = client.get(run).json()
        assert given_back["state"]["type"] == "SCHEDULED"
        assert datetime.fromisoformat(given_back["next_scheduled_start_time"]) == due
        assert given_back["start_time"] is None
    finally:
        worker.close()


async def test_runs_of_dead_workers_end_and_those_of_living_ones_do_not(
    deployed: PrefectStack, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever worker keeps house. A cancelled run of a dead worker ends cancelled. Ended runs are deleted later."""
    monkeypatch.setattr(orphans, "DEAD_SECONDS", 2)
    monkeypatch.setattr(orphans, "SURE_SECONDS", 0.5)
    alive = Heartbeat(worker="alive", version="1", host="h", pid=1, started_ms=1)
    wanted = {"alive": "RUNNING", "dead": "CRASHED", "cancelled": "CANCELLED", "mine": "RUNNING", "young": "RUNNING"}
    ids = {}
    with deployed.client() as client:
        found = deployed.deployments()["log-status/five-minutes"]["id"]

        def take(name: str) -> None:
            answer = client.post(f"/deployments/{found}/create_flow_run", json={"state": {"type": "SCHEDULED"}})
            ids[name] = answer.raise_for_status().json()["id"]
            worker = "dead" if name in ("cancelled", "young") else name
            client.patch(f"/flow_runs/{ids[name]}", json={"infrastructure_pid": orphans.mark_of(worker)})
            states = ("PENDING", "RUNNING", *(("CANCELLING",) if name == "cancelled" else ()))
            for state in states:
                client.post(f"/flow_runs/{ids[name]}/set_state", json={"state": {"type": state}}).raise_for_status()

        for name in ("alive", "dead", "cancelled", "mine"):
            take(name)
        guard: Any = SimpleNamespace(me="mine", runs=frozenset({UUID(ids["mine"])}))
        guard.trading = SimpleNamespace(settings=Settings())
        house = Housekeeping(guard, redis, "main")
        with temporary_settings({PREFECT_API_URL: deployed.api}):
            async with get_client() as prefect:
                await asyncio.sleep(2.5)
                take("young")
                for _ in range(2):
                    await beat(redis, keys=Keys("main"), heartbeat=alive)
                    await house.end_orphans(prefect)
                    await asyncio.sleep(0.6)
                states = {name: client.get(f"/flow_runs/{run}").json()["state"]["type"] for name, run in ids.items()}
                assert states == wanted

                async def deleted(in_days: int) -> int:
                    now = datetime.now(UTC) + timedelta(days=in_days)
                    return await OldRuns().delete(prefect, redis, "main", "gridflow", now)

                assert await deleted(in_days=2) == 0
                assert await deleted(in_days=4) == 2
                await redis.delete(Keys("main").retention)
                assert await deleted(in_days=4) == 0
                await record_a_stretch(prefect)
        codes = {name: client.get(f"/flow_runs/{run}").status_code for name, run in ids.items()}
    assert codes == {name: 404 if wanted[name] in ("CRASHED", "CANCELLED") else 200 for name in ids}


async def record_a_stretch(prefect: PrefectClient) -> None:
    """Two own windows without a gap between them become one completed run; one that may go on is not recorded yet."""
    began, past = datetime.now(UTC), PastWindows()
    report = WindowReport(symbol="BTC/USDT", ticks=7, fills=2, placed=0, failed_ticks=1, ended="time")
    for second in (0, 10):
        begin = began + timedelta(seconds=second)
        past.add(report, begin, begin + timedelta(seconds=10))
    wanted = FlowRunFilter.model_validate({"tags": {"all_": ["without-prefect"]}})
    for later, runs in ((40, 0), (51, 1), (60, 1)):
        await past.record(prefect, DeploymentNames("main"), began + timedelta(seconds=later))
        found = await prefect.read_flow_runs(flow_run_filter=wanted)
        assert len(found) == runs
    (record,) = found
    assert (record.state.type, record.name) == ("COMPLETED", "BTC/USDT without Prefect")
    assert f"from {began:%H:%M:%S} to" in record.state.message
    assert "14 ticks, 4 fills, 2 failed ticks" in record.state.message


def gridflow_status(redis_url: str, folder: Path) -> str:
    """What `gridflow status` prints, in one line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRIDFLOW_")}
    own = {"GRIDFLOW_REDIS_URL": redis_url, "GRIDFLOW_CONFIG": str(folder / "gridflow.toml"), "COLUMNS": "200"}
    done = subprocess.run([GRIDFLOW, "status"], env=environment | own, capture_output=True, text=True, check=True)
    return done.stdout
