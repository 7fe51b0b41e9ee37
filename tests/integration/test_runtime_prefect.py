"""Deployments and the in-process worker against a real Prefect server on PostgreSQL."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import prefect
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_STATIC_DIRECTORY, temporary_settings

from flows.runtime.cli import main
from flows.runtime.stack.children import RECYCLE
from flows.runtime.stack.prefect_server_process import keep_one_ui
from flows.runtime.worker.deploy import deploy, remove_tick_deployment
from flows.runtime.worker.deployments import planned_deployments
from tasks.settings.model import Settings
from tests.support.prefect_stack import PrefectStack, prefect_stack, run_prefect
from tests.support.prefect_worker import ENDS, ROOT, Worker, prefects_own_worker
from tests.support.servers import free_port
from tests.support.waiting import until

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


def test_the_server_has_one_ui(server: PrefectStack) -> None:
    """Prefect ships two builds. One is copied and served; addresses of the other lead to the same page of it."""
    root = server.api.removesuffix("/api")
    as_browser = {"Accept": "text/html"}
    with httpx.Client(base_url=root, headers=as_browser, trust_env=False) as browser:
        told = browser.get("/ui-settings").json()
        assert (told["available_uis"], told["default_ui"], told["v2_base_url"]) == (["v1"], "v1", None)
        page = "/runs/flow-run/0a1b"
        for address in ("/", page):
            assert "<html" in browser.get(address).text
        assert browser.get(f"/v2{page}").headers["location"] == page


def test_a_copy_of_the_other_ui_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version of the stack left it in the state folder."""
    monkeypatch.setattr(prefect, "__ui_v2_static_path__", prefect.__ui_v2_static_path__)
    for name in ("v1", "v2"):
        (tmp_path / name / "assets").mkdir(parents=True)
    with temporary_settings({PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}):
        keep_one_ui()
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def _gridflow(server: PrefectStack, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a thread of this process, which has imported Prefect already."""
    out, err = StringIO(), StringIO()

    def run() -> int:
        with (
            chdir(folder),
            redirect_stdout(out),
            redirect_stderr(err),
            temporary_settings({PREFECT_API_URL: server.api}),
            pytest.raises(SystemExit) as left,
        ):
            main([*arguments, "--state", str(folder / "none")])
        assert isinstance(left.value.code, int)
        return left.value.code

    with patch.dict(os.environ, server.environment), ThreadPoolExecutor(1) as thread:
        code = thread.submit(run).result()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def _gridflow_deploy(server: PrefectStack, folder: Path, config: Path | None = None) -> str:
    done = _gridflow(server, folder, "deploy", *(("--config", str(config)) if config is not None else ()))
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


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
        run_prefect(server, "work-pool", "create", "gridflow", "--type", "gridflow", folder=ROOT)
        run_prefect(server, "deploy", "--all", folder=ROOT)
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


_TWO = '[symbols."BTC/USDT"]\nrange_pct = "0.04"\ncells = 10\n[symbols."ETH/USDT"]\nrange_pct = "0.04"\ncells = 10\n'
_ONE = '[symbols."BTC/USDT"]\nrange_pct = "0.04"\ncells = 10\n'


class TestAccounts:
    """Two accounts on one server: `main`, and `alt` with the same symbols."""

    @pytest.fixture(autouse=True)
    def _empty(self, server: PrefectStack) -> None:
        server.delete_everything()

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Callable[[str, str], Path]:
        """Writes a settings file of an account."""

        def write(account: str, symbols: str) -> Path:
            path = tmp_path / f"{account}.toml"
            path.write_text(f'account = "{account}"\n{symbols}')
            return path

        return write

    def test_each_deploys_twice_and_loses_a_symbol_without_touching_the_other(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """Names and pools are apart, a second deploy changes nothing, and only one's own windows are removed."""
        accounts = ("main", "alt")
        for account in accounts:
            _gridflow_deploy(server, tmp_path, settings(account, _TWO))
        both = server.deployments()
        assert len(both) == 14
        pools = {each["parameters"]["account"]: each["work_pool_name"] for each in both.values()}
        assert pools == {"main": "gridflow", "alt": "gridflow-alt"}
        for account in accounts:
            again = _gridflow_deploy(server, tmp_path, settings(account, _TWO))
            assert {line.split()[0] for line in again.splitlines()} == {"unchanged"}
        assert server.deployments() == both

        assert "removed   grid-tick/eth-usdt\n" in _gridflow_deploy(server, tmp_path, settings("main", _ONE))
        del both["grid-tick/eth-usdt"]
        assert server.deployments() == both
        assert "removed   grid-tick/eth-usdt-alt\n" in _gridflow_deploy(server, tmp_path, settings("alt", _ONE))
        del both["grid-tick/eth-usdt-alt"]
        assert server.deployments() == both

    def test_deployments_of_an_earlier_version_belong_to_main(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """They carry no account: `alt` leaves them alone, `main` takes them over, paused as they are."""
        _gridflow_deploy(server, tmp_path, settings("main", _TWO))
        before = server.deployments()
        with server.client() as client:
            for name, each in before.items():
                kept = {key: value for key, value in each["parameters"].items() if key != "account"}
                paused = {"paused": name == "grid-tick/btc-usdt"}
                client.patch(f"/deployments/{each['id']}", json={"parameters": kept} | paused).raise_for_status()
        earlier = server.deployments()
        _gridflow_deploy(server, tmp_path, settings("alt", _ONE))
        assert {name: server.deployments()[name] for name in earlier} == earlier

        _gridflow_deploy(server, tmp_path, settings("main", _ONE))
        after = server.deployments()
        assert "grid-tick/eth-usdt" not in after
        taken_over = after["grid-tick/btc-usdt"]
        assert (taken_over["id"], taken_over["paused"]) == (before["grid-tick/btc-usdt"]["id"], True)
        assert taken_over["parameters"]["account"] == "main"

    async def test_the_only_account_of_a_server_takes_over_what_carries_no_account(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """On the server of a one-machine stack: nothing is left in a pool that nobody serves."""
        _gridflow_deploy(server, tmp_path, settings("main", _TWO))
        with server.client() as client:
            for each in server.deployments().values():
                client.patch(f"/deployments/{each['id']}", json={"parameters": {}}).raise_for_status()
        with temporary_settings({PREFECT_API_URL: server.api}):
            await deploy(planned_deployments(Settings(account="alt")), "alt", unmarked_owner="alt")
        left = server.deployments().values()
        assert {(each["parameters"]["account"], each["work_pool_name"]) for each in left} == {("alt", "gridflow-alt")}

    async def test_the_windows_of_one_symbol_are_removed_for_one_account(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """And once."""
        for account in ("main", "alt"):
            _gridflow_deploy(server, tmp_path, settings(account, _TWO))
        expected = server.deployments()
        with temporary_settings({PREFECT_API_URL: server.api}):
            assert await remove_tick_deployment("alt", "ETH/USDT")
            assert not await remove_tick_deployment("alt", "ETH/USDT")
            del expected["grid-tick/eth-usdt-alt"]
            assert server.deployments() == expected
            assert await remove_tick_deployment("main", "ETH/USDT")
        del expected["grid-tick/eth-usdt"]
        assert server.deployments() == expected

    def test_commands_start_the_deployments_of_their_own_account(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """Where only `main` is deployed, `alt` finds nothing to start."""
        _gridflow_deploy(server, tmp_path, settings("main", _ONE))
        config = str(settings("alt", _ONE))
        for command, deployment in (("rebalance", "rebalance/manual-alt"), ("stop", "graceful-stop/manual-alt")):
            done = _gridflow(server, tmp_path, command, "--config", config, "--timeout", "5")
            assert done.returncode == 1
            assert f"no deployment {deployment}" in done.stderr

    def test_a_worker_refuses_a_run_of_another_account(
        self, server: PrefectStack, tmp_path: Path, settings: Callable[[str, str], Path]
    ) -> None:
        """The run fails and names both accounts. The worker's Redis is not even asked: there is none."""
        _gridflow_deploy(server, tmp_path, settings("main", _ONE))
        deployment = server.deployments()["resume/manual"]["id"]
        body = {"state": {"type": "SCHEDULED"}, "parameters": {"account": "alt"}}
        nowhere = {
            "GRIDFLOW_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "GRIDFLOW_CONFIG": str(tmp_path / "main.toml"),
        }
        with server.client() as client, prefects_own_worker(server, tmp_path, **nowhere):
            created = client.post(f"/deployments/{deployment}/create_flow_run", json=body).raise_for_status()
            run = f"/flow_runs/{created.json()['id']}"
            until(lambda: client.get(run).json()["state"]["type"] in ENDS, 60)
            state = client.get(run).json()["state"]
        assert state["type"] == "FAILED"
        assert "account 'alt'" in state["message"]
        assert "account 'main'" in state["message"]


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
        assert worker.wait_for(run, *ENDS) == "COMPLETED"
        assert (tmp_path / "pid").read_text() == str(worker.process.pid)

    def test_a_failing_flow_ends_failed(self, worker: Worker) -> None:
        """An exception in a flow is a FAILED run, as everywhere in Prefect."""
        assert worker.wait_for(worker.start_run("fail/manual"), *ENDS) == "FAILED"

    def test_a_flow_that_exits_crashes_alone(self, worker: Worker) -> None:
        """SystemExit in one run is recorded as CRASHED and ends neither the worker nor other runs."""
        assert worker.wait_for(worker.start_run("leave/manual"), *ENDS) == "CRASHED"
        assert worker.process.poll() is None

    def test_a_cancelled_run_ends_early_and_cancelled(self, worker: Worker) -> None:
        """The flow is asked to end; what it does then is its own business; the run ends CANCELLED."""
        run = worker.start_run("long-window/manual")
        worker.wait_for(run, "RUNNING")
        with worker.server.client() as client:
            client.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
        assert worker.wait_for(run, *ENDS, seconds=10) == "CANCELLED"

    def test_windows_started_at_once_and_by_schedule_complete(self, worker: Worker) -> None:
        """Every symbol had a first window without waiting for its schedule. A run costs few events in the database."""
        question = {
            "flows": {"name": {"any_": ["grid-tick"]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        with worker.server.client() as client:
            until(lambda: client.post("/flow_runs/count", json=question).json() >= 3, 25)
            run = client.post("/flow_runs/filter", json=question | {"limit": 1}).json()[0]["id"]

            def events() -> list[str]:
                wanted = {"filter": {"any_resource": {"id": [f"prefect.flow-run.{run}"]}}}
                found = client.post("/events/filter", json=wanted).raise_for_status().json()["events"]
                return sorted(each["event"].removeprefix("prefect.flow-run.") for each in found)

            until(lambda: "Completed" in events(), 25, "the events of the run")
            assert events() == ["Completed", "Pending", "Running", "Scheduled"], "one for each state, and no more"

    def test_sigterm_drains_running_windows_and_closes_the_trading_side(self, worker: Worker) -> None:
        """A window in the middle ends early and COMPLETED; orders are cancelled meanwhile, and once more after it."""
        run = worker.start_run("long-window/manual")
        worker.wait_for(run, "RUNNING")
        assert worker.end() == 0
        assert worker.state_of(run) == "COMPLETED"
        calls = (worker.state / "calls.txt").read_text().split()
        # A run that was taken before the drain, and whose flow is loaded only then, asks for the stop once more.
        assert list(dict.fromkeys(calls)) == ["open", "request_stop", "graceful_stop"]
        assert calls[-1] == "graceful_stop"
        assert calls.count("graceful_stop") == 2


def test_prefects_own_command_starts_a_worker_that_completes_a_run(worker: Worker, tmp_path: Path) -> None:
    """`prefect worker start --type gridflow` finds the worker type by itself; the run takes no process of its own."""
    if worker.process.poll() is None:
        worker.end()
    with prefects_own_worker(worker.server, tmp_path) as process:
        run = worker.start_run("write-file/manual", path=str(tmp_path / "pid"))
        assert worker.wait_for(run, *ENDS, seconds=60) == "COMPLETED"
        assert (tmp_path / "pid").read_text() == str(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_a_worker_that_ran_its_share_asks_for_a_fresh_process(server: PrefectStack, tmp_path: Path) -> None:
    """Its windows end, its orders stay for the next process: it says so with its exit code."""
    server.delete_everything()
    worker = Worker(server, tmp_path, "1")
    try:
        worker.start_run("fail/manual")
        assert worker.process.wait(120) == RECYCLE
    finally:
        worker.end()
    first, *others = (tmp_path / "calls.txt").read_text().split()
    assert (first, set(others)) == ("open", {"request_stop"})  # once more for a run that begins meanwhile
