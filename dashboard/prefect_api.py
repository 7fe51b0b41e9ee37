"""The few calls to Prefect's HTTP API the dashboard needs. Prefect itself is not imported: it costs 100 MB."""

from dataclasses import dataclass
from typing import Any

import httpx

from tasks.base.addresses import is_loopback
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import GridflowError

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class PrefectDown(GridflowError):
    """Prefect's API cannot be used now; the message says why and what to do."""


@dataclass(frozen=True)
class RunState:
    """A flow run as its server sees it."""

    run_id: str
    name: str
    type: str  # SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, …
    label: str  # Late, Retrying, … where it says more than the type
    message: str

    @property
    def ended(self) -> bool:
        """Whether the run will not go on."""
        return self.type in _FINAL


def start_rebalance(api: str, account: str) -> str:
    """Start the account's manual rebalance; the id of its flow run. Raises PrefectDown."""
    name = DeploymentNames(account).rebalance_manual
    missing = f"Prefect knows no deployment {name}. Deploy with `gridflow deploy`"
    deployment = _call(api, "GET", f"/deployments/name/{name}", missing=missing)
    run = _call(api, "POST", f"/deployments/{_field(deployment, 'id')}/create_flow_run", {})
    return _field(run, "id")


def run_state(api: str, run_id: str) -> RunState:
    """How the run stands. Raises PrefectDown."""
    run = _call(api, "GET", f"/flow_runs/{run_id}", missing="Prefect no longer knows this run")
    state = (run.get("state") if isinstance(run, dict) else None) or {}
    kind = str(state.get("type") or "PENDING")
    return RunState(
        run_id=run_id,
        name=str(run.get("name") or run_id) if isinstance(run, dict) else run_id,
        type=kind,
        label=str(state.get("name") or kind.title()),
        message=str(state.get("message") or ""),
    )


def run_log(api: str, run_id: str, limit: int = 50) -> tuple[str, ...]:
    """Messages the run logged, oldest first. Raises PrefectDown."""
    asked = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": limit}
    records = _call(api, "POST", "/logs/filter", asked)
    return tuple(str(record.get("message", "")) for record in records if isinstance(record, dict))


def run_page(api: str, run_id: str) -> str:
    """Where the Prefect UI shows the run."""
    return f"{api.rstrip('/').removesuffix('/api')}/runs/flow-run/{run_id}"


def _call(api: str, method: str, path: str, body: dict[str, Any] | None = None, missing: str | None = None) -> Any:
    try:
        url = httpx.URL(api.rstrip("/") + path)
        through_proxy = not is_loopback(url.host)  # whatever HTTP_PROXY says, this machine is near
        answer = httpx.request(method, url, json=body, timeout=_TIMEOUT, trust_env=through_proxy)
        if answer.status_code == httpx.codes.NOT_FOUND and missing:
            raise PrefectDown(missing)
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        raise PrefectDown(f"Prefect answered {error.response.status_code} to {method} {path}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PrefectDown(
            f"Prefect does not answer ({type(error).__name__}). Is its server running? Trading does not depend on it"
        ) from None
    except ValueError:
        raise PrefectDown("What answers at Prefect's address is not Prefect. Look at PREFECT_API_URL") from None


def _field(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not value:
        raise PrefectDown(f"What answers at Prefect's address is not Prefect (no {name!r}). Look at PREFECT_API_URL")
    return str(value)
