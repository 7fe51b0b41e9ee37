"""The stack's worker starts again while the Prefect server hangs: it trades at once, and deploys when it answers."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.runtime.stack import worker_process
from flows.runtime.stack.children import worker_deployed_file
from tasks.settings.model import Settings
from tasks.tick.stopping import StopReport
from tests.support.waiting import until_so


class HangingServer:
    """Accepts connections; answers only while `answers` is true."""

    def __init__(self) -> None:
        self.answers = False
        self.hanging: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self.answers:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
            await writer.drain()
            writer.close()
        else:
            self.hanging.append(writer)


class Service:
    """A trading side that does nothing."""

    def open(self) -> None: ...
    def request_stop(self) -> None: ...
    def beat(self, file: Path) -> None: ...
    def end_with_orders(self) -> StopReport:
        raise AssertionError("its orders are to be cancelled")

    def graceful_stop(self) -> StopReport:
        return StopReport(orders_open=(), reserved=Decimal(0))


async def test_it_does_not_wait_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once this run of the stack has deployed; the first start waits, because the server makes its tables."""
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    monkeypatch.setattr(worker_process, "_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(worker_process, "_DEPLOY_AGAIN_SECONDS", 0.1)
    server, done, end = HangingServer(), [], asyncio.Event()

    async def run_flows(*_: Any) -> bool:
        done.append("trades")
        await end.wait()
        return False

    async def deploy(*_: Any) -> None:
        done.append("deploys")
        if done.count("deploys") == 1:
            raise OSError("the server went away again")

    monkeypatch.setattr(worker_process, "_run_flows", run_flows)
    monkeypatch.setattr(worker_process, "_deploy", deploy)

    def working(ready: Callable[[], None]) -> "asyncio.Task[int]":
        return asyncio.create_task(worker_process.work(list, Service(), ready, Settings()))

    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        worker_deployed_file(tmp_path).touch()
        work = working(lambda: done.append("ready"))
        await until_so(lambda: asyncio.sleep(0, "trades" in done), what="the worker to trade")
        assert done == ["ready", "trades"]
        worker_deployed_file(tmp_path).unlink()
        server.answers = True
        await until_so(lambda: asyncio.sleep(0, worker_deployed_file(tmp_path).exists()), what="the deployments")
        assert done == ["ready", "trades", "deploys", "deploys"]
        end.set()
        assert await work == 0
        listening.close()
        for writer in server.hanging:
            writer.close()
            await writer.wait_closed()
