"""Runs one grid-tick flow in this process and counts its HTTP calls to the Prefect API; prints JSON.

Usage: count_calls SYMBOL, with PREFECT_API_URL, GRIDFLOW_REDIS_URL and settings in the environment.
"""

import json
import sys
import time
from typing import Any

import httpx

from tasks.tick.trader import GridTrader

calls: list[tuple[float, str]] = []
ticks: list[float] = []
told: list[str] = []


def _count() -> None:
    send, async_send, tick = httpx.Client.send, httpx.AsyncClient.send, GridTrader.tick

    def counted(client: httpx.Client, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        calls.append((time.monotonic(), request.url.path))
        return send(client, request, **kwargs)

    async def async_counted(client: httpx.AsyncClient, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        calls.append((time.monotonic(), request.url.path))
        return await async_send(client, request, **kwargs)

    async def counted_tick(trader: GridTrader, *arguments: Any) -> Any:
        ticks.append(time.monotonic())
        return await tick(trader, *arguments)

    httpx.Client.send = counted  # type: ignore[method-assign, assignment]
    httpx.AsyncClient.send = async_counted  # type: ignore[method-assign, assignment]
    GridTrader.tick = counted_tick  # type: ignore[method-assign, assignment]


def main() -> None:
    """Count one window."""
    _count()
    from flows.grid_tick import grid_tick
    from flows.runtime.worker import pages as shown

    emit: Any = vars(shown)["emit_event"]

    def counted_emit(*arguments: Any, **named: Any) -> Any:
        told.append(str(arguments[0]))
        return emit(*arguments, **named)

    vars(shown)["emit_event"] = counted_emit
    from flows.runtime.service import service

    grid_tick(symbol=sys.argv[1])
    service().close()
    first, last = ticks[0], ticks[-1]
    inside = [path for moment, path in calls if first < moment < last]
    pages = sum(path == "/api/artifacts/" for _, path in calls)
    print(json.dumps({"ticks": len(ticks), "calls": len(calls), "inside": inside, "pages": pages, "events": len(told)}))


if __name__ == "__main__":
    main()
