"""Names and links of flow runs: what a run does, of what, and when (UTC)."""

from collections.abc import Callable

from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from tasks.base.clock import utc_now


def _at() -> str:
    return f"{flow_run.scheduled_start_time or utc_now():%Y-%m-%d %H:%M:%S}"


def window_name() -> str:
    """`BTC/USDT 2026-01-31 12:00:00`."""
    return f"{flow_run.parameters['symbol']} {_at()}"


def rebalance_name() -> str:
    """`rebalance manual 2026-01-31 12:00:00`."""
    return f"rebalance {flow_run.parameters['reason']} {_at()}"


def name_of(what: str) -> Callable[[], str]:
    """A name that begins with `what`."""

    def name() -> str:
        return f"{what} {_at()}"

    return name


def run_fields() -> dict[str, str]:
    """The run's id and its page in the Prefect UI, as fields of log lines; none outside a run."""
    if not flow_run.id:
        return {}
    url = url_for("flow-run", obj_id=flow_run.id)
    return {"flow_run": str(flow_run.id)} | ({"flow_run_url": url} if url else {})
