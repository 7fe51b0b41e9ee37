"""A light client of Prefect's HTTP API: start a deployment's run, read its state and log, follow it to its end.

Prefect itself is not imported: that costs 100 MB and seconds of CPU time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tasks.base.addresses import is_loopback
from tasks.base.errors import PrefectNotFound, PrefectUnavailable, RunNotFinished

_CONNECT_SECONDS = 2.0
_POLL_SECONDS = 0.5
_FINAL_STATES = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class FlowRun:
    """A flow run as the server reported it."""

    run_id: str
    name: str
    type: str  # SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, …
    label: str  # the state's own name, such as Late or Retrying; often the type in other letters
    message: str

    @property
    def ended(self) -> bool:
        """Whether the run has reached a final state."""
        return self.type in _FINAL_STATES

    @property
    def ok(self) -> bool:
        """Whether the run completed."""
        return self.type == "COMPLETED"


def _no_progress(_what: str) -> None:
    """Report nothing while waiting."""


@dataclass(frozen=True)
class PrefectRuns:
    """The flow runs of the Prefect server at `api`, which ends in `/api`.

    `timeout_seconds` bounds each request; a busy server takes seconds. Every method raises PrefectUnavailable where the
    server does not answer, or what answers is not a Prefect server.
    """

    api: str
    timeout_seconds: float = 10.0

    def start(self, deployment: str, once: str = "") -> str:
        """Start a run of `flow/deployment` now; its id. Raises PrefectNotFound for a deployment that does not exist.

        `once`: a second start with the same key gives the run of the first.
        """
        with self._connected() as client:
            missing = f"The Prefect server has no deployment {deployment}. Run `gridflow deploy`"
            found = self._call(client, "GET", f"/deployments/name/{deployment}", missing=missing)
            path = f"/deployments/{self._text(found, 'id')}/create_flow_run"
            body: dict[str, Any] = {"state": {"type": "SCHEDULED"}} | ({"idempotency_key": once} if once else {})
            return self._text(self._call(client, "POST", path, body), "id")

    def state(self, run_id: str) -> FlowRun:
        """The run as it stands now. Raises PrefectNotFound for a run that was deleted."""
        with self._connected() as client:
            return self._state(client, run_id)

    def log(self, run_id: str, limit: int = 50) -> tuple[str, ...]:
        """The first `limit` messages that the run logged, oldest first."""
        wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": limit}
        with self._connected() as client:
            records = self._call(client, "POST", "/logs/filter", wanted)
        return tuple(str(record.get("message", "")) for record in records if isinstance(record, dict))

    def run(self, deployment: str, seconds: float, on_wait: Callable[[str], None] = _no_progress) -> FlowRun:
        """Start a run of `flow/deployment` now and follow it; the run in its final state.

        `on_wait` is called after each poll with what is waited for. Raises PrefectNotFound for a deployment that does
        not exist, and RunNotFinished where the run takes longer than `seconds`.
        """
        run_id = self.start(deployment)
        deadline = time.monotonic() + seconds
        with self._connected() as client:
            while time.monotonic() < deadline:
                found = self._state(client, run_id)
                if found.ended:
                    return found
                on_wait(f"the run {found.name} of {deployment}, which is {found.type}")
                time.sleep(_POLL_SECONDS)
        raise RunNotFinished(
            f"The run of {deployment} did not end within {seconds:.0f} s. Check that a worker runs on its work pool"
        )

    def completed_since(self, flow: str, since: datetime) -> int:
        """How many runs of `flow` started at or after `since` and completed."""
        state = {"type": {"any_": ["COMPLETED"]}}
        wanted = {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"state": state, "start_time": {"after_": since.isoformat()}},
        }
        with self._connected() as client:
            return int(self._call(client, "POST", "/flow_runs/count", wanted))

    def check_ready(self) -> None:
        """Raise PrefectUnavailable unless the server and its database are ready."""
        with self._connected() as client:
            self._call(client, "GET", "/ready")

    def page(self, run_id: str) -> str:
        """URL of the run in the Prefect UI."""
        return f"{self.api.rstrip('/').removesuffix('/api')}/runs/flow-run/{run_id}"

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        """One client for the calls of one method. A proxy from the environment is never used for this machine."""
        try:
            through_proxy = not is_loopback(httpx.URL(self.api).host)
            timeout = httpx.Timeout(self.timeout_seconds, connect=_CONNECT_SECONDS)
            with httpx.Client(base_url=self.api, timeout=timeout, trust_env=through_proxy) as client:
                yield client
        except httpx.HTTPStatusError as error:
            status, request = error.response.status_code, error.request
            raise PrefectUnavailable(self.api, f"it answered {status} to {request.method} {request.url.path}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrefectUnavailable(self.api, str(error) or type(error).__name__) from None

    def _call(
        self, client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None, missing: str = ""
    ) -> Any:
        """The JSON answer. `missing`: what a 404 means."""
        answer = client.request(method, path, json=body)
        if answer.status_code == httpx.codes.NOT_FOUND and missing:
            raise PrefectNotFound(missing)
        answer.raise_for_status()
        try:
            return answer.json()
        except ValueError:
            raise PrefectUnavailable(self.api, "what answers there is not Prefect: no JSON") from None

    def _state(self, client: httpx.Client, run_id: str) -> FlowRun:
        missing = f"The Prefect server no longer has the run {run_id}"
        found = self._call(client, "GET", f"/flow_runs/{run_id}", missing=missing)
        name = self._text(found, "name")
        state = found.get("state") or {}
        kind = str(state.get("type") or "PENDING")
        label = str(state.get("name") or kind.title())
        return FlowRun(run_id=run_id, name=name, type=kind, label=label, message=str(state.get("message") or ""))

    def _text(self, answer: Any, field: str) -> str:
        value = answer.get(field) if isinstance(answer, dict) else None
        if not value:
            raise PrefectUnavailable(self.api, f"what answers there is not Prefect: no {field!r}")
        return str(value)
