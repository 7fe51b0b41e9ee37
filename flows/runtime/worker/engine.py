"""Runs one flow run in the calling thread, with Prefect's own engine. Depends on internals of Prefect 3.9."""

import asyncio
import inspect
import threading
from functools import cache
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.context import SettingsContext, get_settings_context
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.logging.handlers import APILogWorker

from flows.runtime.worker.cancelling import cancel_flag

_SEND_SECONDS = 5.0


@cache
def load_flow(entrypoint: str) -> Flow[..., Any]:
    """The flow at the entry point, imported once."""
    loaded: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    return loaded


def parameter_problem(flow: Flow[..., Any], flow_run: FlowRun) -> str:
    """Why the run's parameters do not fit the flow; '' where they do. The flow itself checks their values."""
    known = inspect.signature(flow.fn).parameters
    unknown = sorted(set(flow_run.parameters or {}) - set(known))
    if not unknown:
        return ""
    return (
        f"The flow {flow.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}. Nothing was done. "
        "Correct the deployment with `gridflow deploy`"
    )


def _without_heartbeats() -> SettingsContext:
    """The current settings, without heartbeats of flow runs, which cost a thread and an event each three minutes.

    Prefect's automations look for them. Here the heartbeats of workers tell which runs are dead.
    """
    now = get_settings_context()
    flows = now.settings.flows.model_copy(update={"heartbeat_frequency": None})
    return SettingsContext(profile=now.profile, settings=now.settings.model_copy(update={"flows": flows}))


def run_engine(flow: Flow[..., Any], flow_run: FlowRun, flag: threading.Event) -> State | BaseException:
    """Run the flow until the engine is done with it; errors are returned, never raised."""
    # Without a deployment id the engine starts no suspension observer (a thread, a loop and a web socket per run);
    # the engine reads the whole run again before it calls the flow.
    unobserved = flow_run.model_copy(update={"deployment_id": None})
    try:
        with cancel_flag(flag), _without_heartbeats():
            ended: Any = run_flow(flow, flow_run=unobserved, return_type="state")
            state: State = asyncio.run(ended) if asyncio.iscoroutine(ended) else ended
            return state
    except BaseException as error:  # noqa: BLE001 - SystemExit in a flow must not end the worker's other runs
        return error


async def send_waiting_records() -> None:
    """Send the logs and events of runs that Prefect's client still has in its queues."""
    for kind in (APILogWorker, EventsWorker):
        sent: Any = kind.drain_all(timeout=_SEND_SECONDS)
        if inspect.isawaitable(sent):
            await sent
