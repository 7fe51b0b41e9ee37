"""Deployments and the in-process worker against a real Prefect server on PostgreSQL."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.children import RECYCLE
from tests.support.prefect_stack import PrefectStack, prefect_stack, run_prefect

_ROOT = Path(__file__).parents[2]
# `version` names the state of the code: in a clone with a remote Prefect's own command takes the commit for it.
_VOLATILE = {
    "version",
    "id",
    "created",
    "updated",
    "flow_id",
    "work_queue_id",
    "deployment_id",
    "labels",
    "status",
    "last_polled",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectStack]:
    """One server for this module."""
    with prefect_stack(tmp_path_factory.mktemp("prefect") / "state") as stack:
        yield stack


def _gridflow_deploy(server: PrefectStack, folder: Path, config: Path | None = None) -> str:
    command = [sys.executable, "-m", "flows.runtime.cli", "deploy", "--state", str(folder / "none")]
    if config is not None:
        command += ["--config", str(config)]
    done = subprocess.run(command, env=server.environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _stable(value: Any) -> Any:
    """Without what differs between two servers or two moments."""
    if isinstance(value, dict):
        return {name: _stable(each) for name, each in value.items() if name not in _VOLATILE}
    return [_stable(each) for each in value] if isinstance(value, list) else value


class TestDeployments:
    """What `gridflow deploy` and prefect.yaml make of a server."""

    @pytest.fixture(autouse=True)
    def _empty(self, server: PrefectStack) -> None:
        server.delete_everything()

    def test_prefect_yaml_and_gridflow_deploy_give_the_same(self, server: PrefectStack, tmp_path: Path) -> None:
        """Deployed either way, every deployment is equal in all that is not an id or a time."""
        run_prefect(server, "work-pool", "create", "gridflow", "--type", "gridflow", folder=_ROOT)
        run_prefect(server, "deploy", "--all", folder=_ROOT)
        by_yaml = server.deployments()
        server.delete_everything()
        _gridflow_deploy(server, tmp_path)
        assert _stable(server.deployments()) == _stable(by_yaml)
        assert len(by_yaml) == 8

    def test_a_second_deploy_keeps_what_an_operator_switched_off(self, server: PrefectStack, tmp_path: Path) -> None:
        """Ids, a paused deployment and an inactive schedule survive, also when the schedule itself changes."""
        _gridflow_deploy(server, tmp_path)
        before = server.deployments()
        paused, inactive = before["grid-tick/btc-usdt"], before["grid-tick/eth-usdt"]
        with server.client() as client:
            client.patch(f"/deployments/{paused['id']}", json={"paused": True}).raise_for_status()
            schedule = f"/deployments/{inactive['id']}/schedules/{inactive['schedules'][0]['id']}"
            client.patch(schedule, json={"active": False}).raise_for_status()

        again = _gridflow_deploy(server, tmp_path)
        assert "changed" not in again.replace("unchanged", "")
        config = tmp_path / "longer.toml"
        config.write_text("[trading]\nwindow_seconds = 120\n")
        _gridflow_deploy(server, tmp_path, config)

        after = server.deployments()
        assert after["grid-tick/btc-usdt"]["paused"] is True
        kept = after["grid-tick/eth-usdt"]
        assert (kept["id"], kept["schedules"][0]["active"]) == (inactive["id"], False)
        assert kept["schedules"][0]["schedule"]["interval"] == 120

    def test_a_removed_symbol_loses_its_deployment(self, server: PrefectStack, tmp_path: Path) -> None:
        """Only the symbols of the settings keep windows; other people's deployments are not touched."""
        _gridflow_deploy(server, tmp_path)
        config = tmp_path / "one.toml"
        config.write_text('[symbols."BTC/USDT"]\nrange_pct = "0.04"\ncells = 10\n')
        assert "removed   grid-tick/eth-usdt" in _gridflow_deploy(server, tmp_path, config)
        windows = [name for name in server.deployments() if name.startswith("grid-tick/")]
        assert windows == ["grid-tick/btc-usdt"]


class Worker:
    """The stub worker process and the runs it is given."""

    def __init__(self, server: PrefectStack, state: Path, *arguments: str) -> None:
        self.server, self.state = server, state
        self._deployments: dict[str, dict[str, Any]] = {}
        environment = server.environment | {"GRIDFLOW_STATE": str(state), "PREFECT_WORKER_QUERY_SECONDS": "0.5"}
        self.log = (state / "worker.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.stub_worker", *arguments],
            env=environment,
            cwd=_ROOT,
            stdout=self.log,
            stderr=self.log,
        )
        _until((state / "worker.ready").exists, 60)

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Start a run now; its id."""
        self._deployments = self._deployments or self.server.deployments()
        with self.server.client() as client:
            body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
            found = self._deployments[deployment]["id"]
            answer = client.post(f"/deployments/{found}/create_flow_run", json=body)
            return str(answer.raise_for_status().json()["id"])

    def state_of(self, run: str) -> str:
        with self.server.client() as client:
            return str(client.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"])

    def wait_for(self, run: str, *states: str, seconds: float = 25) -> str:
        """Wait until the run is in one of the states; that state."""
        _until(lambda: self.state_of(run) in states, seconds)
        return self.state_of(run)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.log.close()


def _until(question: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


_ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def worker(server: PrefectStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that serves the stub flows."""
    server.delete_everything()
    worker = Worker(server, tmp_path_factory.mktemp("worker"))
    yield worker
    if worker.process.poll() is None:
        worker.end()


class TestWorker:
    """One worker process takes all these runs; the last test ends it."""

    @pytest.mark.parametrize("flow", ["write-file", "async-write"])
    def test_runs_a_flow_inside_its_own_process(self, worker: Worker, tmp_path: Path, flow: str) -> None:
        """Sync and async flows alike: no process per run."""
        run = worker.start_run(f"{flow}/manual", path=str(tmp_path / "pid"))
        assert worker.wait_for(run, *_ENDS) == "COMPLETED"
        assert (tmp_path / "pid").read_text() == str(worker.process.pid)

    def test_a_failing_flow_ends_failed(self, worker: Worker) -> None:
        """An exception in a flow is a FAILED run, as everywhere in Prefect."""
        assert worker.wait_for(worker.start_run("fail/manual"), *_ENDS) == "FAILED"

    def test_a_flow_that_exits_crashes_alone(self, worker: Worker) -> None:
        """SystemExit in one run is recorded as CRASHED and ends neither the worker nor other runs."""
        assert worker.wait_for(worker.start_run("leave/manual"), *_ENDS) == "CRASHED"
        assert worker.process.poll() is None

    def test_a_cancelled_run_ends_early_and_cancelled(self, worker: Worker) -> None:
        """The flow is asked to end; what it does then is its own business; the run ends CANCELLED."""
        run = worker.start_run("long-window/manual")
        worker.wait_for(run, "RUNNING")
        with worker.server.client() as client:
            client.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
        assert worker.wait_for(run, *_ENDS, seconds=10) == "CANCELLED"

    def test_windows_started_at_once_and_by_schedule_complete(self, worker: Worker) -> None:
        """Every symbol had a first window without waiting for its schedule."""
        question = {
            "flows": {"name": {"any_": ["grid-tick"]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        with worker.server.client() as client:
            _until(lambda: client.post("/flow_runs/count", json=question).json() >= 3, 25)

    def test_sigterm_drains_running_windows_and_closes_the_trading_side(self, worker: Worker) -> None:
        """A window in the middle ends early and COMPLETED; orders are cancelled meanwhile, and once more after it."""
        run = worker.start_run("long-window/manual")
        worker.wait_for(run, "RUNNING")
        assert worker.end() == 0
        assert worker.state_of(run) == "COMPLETED"
        calls = (worker.state / "calls.txt").read_text().split()
        assert calls == ["open", "request_stop", "graceful_stop", "graceful_stop"]


def test_prefects_own_command_starts_a_worker_that_completes_a_run(worker: Worker, tmp_path: Path) -> None:
    """`prefect worker start --type gridflow` finds the worker type by itself; the run takes no process of its own."""
    if worker.process.poll() is None:
        worker.end()
    command = ["prefect", "worker", "start", "--pool", "gridflow", "--type", "gridflow"]
    environment = worker.server.environment | {"GRIDFLOW_STATE": str(worker.state), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], env=environment, cwd=_ROOT, stdout=log, stderr=log)
    try:
        run = worker.start_run("write-file/manual", path=str(tmp_path / "pid"))
        assert worker.wait_for(run, *_ENDS, seconds=60) == "COMPLETED"
        assert (tmp_path / "pid").read_text() == str(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_ran_its_share_asks_for_a_fresh_process(server: PrefectStack, tmp_path: Path) -> None:
    """Its windows end, its orders stay for the next process: it says so with its exit code."""
    server.delete_everything()
    worker = Worker(server, tmp_path, "1")
    try:
        worker.start_run("fail/manual")
        assert worker.process.wait(30) == RECYCLE
    finally:
        worker.end()
    first, *others = (tmp_path / "calls.txt").read_text().split()
    assert (first, set(others)) == ("open", {"request_stop"})  # once more for a run that begins meanwhile
