"""Real workers of the user's own Prefect server, on paper prices that are made up, as processes of their own."""

import asyncio
import os
import signal
import subprocess
import tomllib
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runtime.worker.deploy import deploy
from flows.runtime.worker.deployments import planned_deployments
from tasks.settings.model import Settings
from tests.support.prefect_stack import PrefectStack
from tests.support.up import GRIDFLOW, ROOT
from tests.support.waiting import until

SETTINGS = """
[paper]
market = "synthetic"
[trading]
window_seconds = 10
tick_min_seconds = 0.5
tick_max_seconds = 2
[symbols."BTC/USDT"]
range_pct = "0.04"
cells = 6
[symbols."ETH/USDT"]
range_pct = "0.04"
cells = 6
"""


def deploy_symbols(server: PrefectStack) -> None:
    """Deploy the windows of both symbols and the other flows, as `gridflow deploy` does."""
    settings = Settings.model_validate(tomllib.loads(SETTINGS))
    with temporary_settings({PREFECT_API_URL: server.api}):
        asyncio.run(deploy(planned_deployments(settings), settings.account))


class RealWorker:
    """One worker process: `gridflow worker …`, or whatever `command` says."""

    def __init__(
        self, server: PrefectStack, redis_url: str, folder: Path, *command: str, settings: str = SETTINGS
    ) -> None:
        config = folder / "gridflow.toml"
        config.write_text(settings, encoding="utf-8")
        self._log = folder / f"{len(list(folder.glob('*.log')))}.log"
        more = {"GRIDFLOW_REDIS_URL": redis_url, "GRIDFLOW_CONFIG": str(config), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        more |= {"PREFECT_WORKER_PREFETCH_SECONDS": "3", "GRIDFLOW_STATE": str(folder / "state")}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRIDFLOW_")}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command or (GRIDFLOW, "worker"),
                env=environment | server.environment | more,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        """Its log."""
        return self._log.read_text()

    def wait_started(self) -> None:
        """Until it polls for runs."""
        until(lambda: "started!" in self.said or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.said

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(160)
