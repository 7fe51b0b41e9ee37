"""Start a deployment's flow run through the Prefect API and wait for its end; light: no Prefect import."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tasks.base.errors import StackError

_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 10.0  # for one answer; a busy server takes seconds
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class EndedRun:
    """A flow run that reached a final state."""

    id: str
    name: str
    state: str
    message: str | None

    @property
    def ok(self) -> bool:
        return self.state == "COMPLETED"


def _silent(_what: str) -> None:
    """Say nothing while waiting."""


def run_deployment(api: str, full_name: str, seconds: float, waiting: Callable[[str], None] = _silent) -> EndedRun:
    """Start `flow/deployment` now and wait for its end; `waiting` is told now and again what for.

    Raises StackError when the server does not answer, does not know the deployment, or the run takes longer.
    """
    with httpx.Client(base_url=api, timeout=_ANSWER_SECONDS, trust_env=False) as client:
        try:
            return _run(client, full_name, seconds, waiting)
        except httpx.HTTPError as error:
            raise StackError(f"The Prefect server {api} did not answer as it should: {error}") from None


def _run(client: httpx.Client, full_name: str, seconds: float, waiting: Callable[[str], None]) -> EndedRun:
    found = client.get(f"/deployments/name/{full_name}")
    if found.status_code == httpx.codes.NOT_FOUND:
        raise StackError(f"The Prefect server has no deployment {full_name}. Run `gridflow deploy`")
    found.raise_for_status()
    created = client.post(f"/deployments/{found.json()['id']}/create_flow_run", json={"state": {"type": "SCHEDULED"}})
    created.raise_for_status()
    run_id = created.json()["id"]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = client.get(f"/flow_runs/{run_id}").raise_for_status().json()
        state = run["state"] or {}
        if state.get("type") in _FINAL:
            return EndedRun(run_id, run["name"], state["type"], state.get("message"))
        waiting(f"the run {run['name']} of {full_name}, which is {state.get('type', 'not known')}")
        time.sleep(_POLL_SECONDS)
    raise StackError(f"The run of {full_name} did not end within {seconds:.0f} s. Does a worker run on its pool?")
