"""CPU per flow run: Gridflow's in-process worker against Prefect's stock process worker.

Run by hand: `python -m tests.benchmarks.worker_benchmark`. Same server, same flow; takes about two minutes. Counts
user and system CPU-seconds of the worker and of all its ended children while it runs a number of flow runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.prefect_stack import PrefectStack, prefect_stack, run_prefect

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_ENTRYPOINT = "tests.support.stub_flows.write_file"
_FLOW = "write-file"
_WARM_UP = 2
_SECONDS = 240


@dataclass(frozen=True)
class Measured:
    """What one kind of worker cost."""

    kind: str
    runs: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def per_run(self) -> float:
        return self.cpu_seconds / self.runs


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that have ended."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return sum(int(value) for value in fields[11:15]) / _CLOCK_TICKS


def measure(stack: PrefectStack, kind: str, runs: int, folder: Path) -> Measured:
    """Start a worker of that kind on a pool of its own, warm it up, and count what `runs` runs cost."""
    pool = f"bench-{kind}"
    run_prefect(stack, "work-pool", "create", pool, "--type", kind, folder=folder)
    deployment = _deploy(stack, pool, folder)
    environment = stack.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (folder / f"{kind}.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            with stack.client() as client:
                _run_all(client, deployment, _WARM_UP, folder)
                before, begun = cpu_seconds(worker.pid), time.monotonic()
                _run_all(client, deployment, runs, folder)
                time.sleep(2)  # the stock worker collects its children a moment later
                return Measured(kind, runs, cpu_seconds(worker.pid) - before, time.monotonic() - begun)
        finally:
            worker.send_signal(signal.SIGINT)
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _deploy(stack: PrefectStack, pool: str, folder: Path) -> str:
    code = (
        "import asyncio\n"
        "from prefect.client.orchestration import get_client\n"
        "async def main():\n"
        "    async with get_client() as client:\n"
        f"        flow = await client.create_flow_from_name({_FLOW!r})\n"
        f"        await client.create_deployment(flow, {pool!r}, entrypoint={_ENTRYPOINT!r},\n"
        f"            work_pool_name={pool!r}, pull_steps=[])\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code], env=stack.environment, cwd=folder, check=True)
    return str(stack.deployments()[f"{_FLOW}/{pool}"]["id"])


def _run_all(client: httpx.Client, deployment: str, runs: int, folder: Path) -> None:
    """Start that many runs at once and wait until all have COMPLETED."""
    body: dict[str, Any] = {"state": {"type": "SCHEDULED"}, "parameters": {"path": str(folder / "pid")}}
    ids = []
    for _ in range(runs):
        answer = client.post(f"/deployments/{deployment}/create_flow_run", json=body).raise_for_status()
        ids.append(answer.json()["id"])
    question = {"flow_runs": {"id": {"any_": ids}, "state": {"type": {"any_": ["COMPLETED"]}}}}
    deadline = time.monotonic() + _SECONDS
    while client.post("/flow_runs/count", json=question).raise_for_status().json() < runs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{runs} runs did not complete within {_SECONDS} s")
        time.sleep(0.5)


def main() -> None:
    """Measure both and print the ratio."""
    with tempfile.TemporaryDirectory() as name, prefect_stack(Path(name) / "state") as stack:
        stock = measure(stack, "process", 10, Path(name))
        ours = measure(stack, "gridflow", 60, Path(name))
    for each in (stock, ours):
        print(
            f"{each.kind:9} {each.runs:3} runs  {each.per_run:6.3f} CPU-s per run  "
            f"({each.cpu_seconds:.1f} CPU-s in {each.wall_seconds:.0f} s)"
        )
    print(f"ratio     {stock.per_run / ours.per_run:.1f}")


if __name__ == "__main__":
    main()
