"""The stub worker as a process of its own, and the runs that a test gives it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.prefect_stack import PrefectStack
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


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
            cwd=ROOT,
            stdout=self.log,
            stderr=self.log,
        )
        until((state / "worker.ready").exists, 60)

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
        until(lambda: self.state_of(run) in states, seconds)
        return self.state_of(run)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        finally:
            self.process.kill()
            self.log.close()


@contextmanager
def prefects_own_worker(server: PrefectStack, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect worker start` on the pool of account `main`; its output goes to `own-worker.log` in `folder`."""
    command = ["prefect", "worker", "start", "--pool", "gridflow", "--type", "gridflow"]
    own = {"GRIDFLOW_STATE": str(folder), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (folder / "own-worker.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=server.environment | own | environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
