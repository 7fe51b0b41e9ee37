"""Polls with gridflow workers in this process, and counts their API calls."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import httpx
from prefect.client.schemas.objects import FlowRun

from flows.runtime.worker.worker import GridflowWorker
from tasks.settings.model import Settings
from tests.support.prefect_stack import forget_connections

# Once per client, whatever it does; and the lines that Prefect sends on from a thread of its own, now and then.
_NOT_OF_A_POLL = ("/csrf-token", "/logs/")


def polls_of(workers: int, polls: int, window_seconds: int) -> list[dict[str, Any]]:
    """One element a poll of all workers at the same time, against the server of Prefect's settings.

    `taken`: the runs that each worker took (none is executed); `calls`: the paths of all API calls.
    """
    with _counted() as calls:
        found = asyncio.run(_main(workers, polls, window_seconds, calls))
    forget_connections()
    return found


@contextmanager
def _counted() -> Iterator[list[str]]:
    calls: list[str] = []
    send = httpx.AsyncClient.send

    async def counted(client: httpx.AsyncClient, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        path = request.url.path.removeprefix("/api")
        if path not in _NOT_OF_A_POLL:
            calls.append(path)
        return await send(client, request, **kwargs)

    with patch.object(httpx.AsyncClient, "send", counted):
        yield calls


class _Poller:
    """A worker that writes down what it would have run."""

    def __init__(self, worker: GridflowWorker) -> None:
        self._worker = worker
        self._taken: list[str] = []
        worker._submit_run = self._take

    async def _take(self, run: FlowRun) -> None:
        self._taken.append(str(run.id))
        self._worker._submitting_flow_run_ids.remove(run.id)

    async def poll(self) -> list[str]:
        self._taken = []
        await self._worker.get_and_submit_flow_runs()
        await asyncio.sleep(0)  # lets the submitted runs begin
        return self._taken


async def _main(workers: int, polls: int, window_seconds: int, calls: list[str]) -> list[dict[str, Any]]:
    found = []
    settings = Settings.model_validate({"trading": {"window_seconds": window_seconds}})
    async with AsyncExitStack() as stack:
        pollers = []
        for index in range(workers):
            worker = GridflowWorker("gridflow", name=f"poller-{index}", settings=settings)
            pollers.append(_Poller(await stack.enter_async_context(worker)))
        for _ in range(polls):
            calls.clear()
            taken = await asyncio.gather(*(poller.poll() for poller in pollers))
            found.append({"taken": taken, "calls": list(calls)})
    return found
