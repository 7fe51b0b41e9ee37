"""A real Prefect server on embedded PostgreSQL for tests, and small helpers around it."""

import asyncio
import gc
import os
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.runtime.stack import children
from flows.runtime.stack.ports import PortClaims
from flows.runtime.stack.postgres import prepare, remove
from flows.runtime.stack.prefect_server import api_url, common_environment
from flows.runtime.stack.supervisor import Callbacks, Child, Supervisor
from tests.support.prefect_database import RUN_FOLDER, with_tables
from tests.support.waiting import BUSY


@dataclass(frozen=True)
class PrefectStack:
    """A server that runs: its API, the environment a client of it needs, and its database."""

    api: str
    environment: dict[str, str]
    database_url: str
    kill_server: Callable[[], None]  # at once; the database stays
    start_server: Callable[[], None]  # again, on the same port

    def client(self) -> httpx.Client:
        """A plain HTTP client of the API, outside Prefect's own client code."""
        return httpx.Client(base_url=self.api, timeout=30, trust_env=False)

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Every deployment by full name."""
        with self.client() as client:
            flows = {each["id"]: each["name"] for each in client.post("/flows/filter", json={}).json()}
            found = client.post("/deployments/filter", json={}).json()
        return {f"{flows[each['flow_id']]}/{each['name']}": each for each in found}

    def delete_everything(self) -> None:
        """Remove all flows (with their deployments) and work pools."""
        with self.client() as client:
            for each in client.post("/flows/filter", json={}).json():
                client.delete(f"/flows/{each['id']}").raise_for_status()
            for each in client.post("/work_pools/filter", json={}).json():
                client.delete(f"/work_pools/{each['name']}").raise_for_status()


@contextmanager
def prefect_stack(folder: Path) -> Iterator[PrefectStack]:
    """Start PostgreSQL and the Prefect server, end both at the end, and leave no data behind."""
    copy_tables(folder)
    try:
        with _servers(folder) as stack:
            yield stack
    finally:
        remove(folder)


def copy_tables(state: Path) -> None:
    """Give a new state folder PostgreSQL data in which the Prefect server need not make its tables any more.

    Outside pytest (benchmarks) the folder stays empty.
    """
    state.mkdir(parents=True, exist_ok=True)
    if RUN_FOLDER not in os.environ:
        return

    def start_and_end(folder: Path) -> None:
        with _servers(folder):
            pass

    with_tables(state, start_and_end)


@contextmanager
def _servers(folder: Path) -> Iterator[PrefectStack]:
    claims = PortClaims()
    port = claims.claim()
    home = folder / "prefect"
    logs = folder / "logs"
    logs.mkdir()
    environment = common_environment(home, api_url(port))
    with asyncio.Runner() as runner:
        supervisors: list[Supervisor] = []
        database = prepare(folder)

        def start(child: Child) -> None:
            supervisors.append(Supervisor(child, lambda _line: None, Callbacks(lambda _name, _process: None)))
            runner.run(supervisors[-1].start())

        def start_server() -> None:
            start(children.prefect_server(folder, logs, port, database))

        def stop() -> None:
            runner.run(supervisors.pop().stop())

        def kill_server() -> None:
            supervisors[-1].kill()
            stop()

        try:
            start(children.postgres(database, logs))
            start_server()
            yield PrefectStack(
                api_url(port), {**os.environ, **environment}, database.async_url, kill_server, start_server
            )
        finally:
            while supervisors:
                stop()
            claims.close()


def run_prefect(stack: PrefectStack, *arguments: str, folder: Path) -> str:
    """Run the `prefect` command line against the stack; its output."""
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=stack.environment | {"PREFECT_CLI_PROMPT": "false"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def forget_connections() -> None:
    """Collect what Prefect's clients leave open when their loop ends: a connection kept alive warns when it goes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def eventually(question: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until the answer is yes; fail after BUSY times `seconds`."""
    async with asyncio.timeout(BUSY * seconds):
        while not await question():  # noqa: ASYNC110 - there is nothing that could notify us
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]], end: Callable[[], None]) -> AsyncIterator[None]:
    """`work` in the background; `end` is called to make it return, and its errors are raised."""
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        end()
        await asyncio.wait_for(task, 120)
