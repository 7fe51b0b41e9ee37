"""Crashes of a flow and of a process: logged with the traceback and told as an event, without a secret."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Failed

from flows.runtime import service as process
from flows.runtime.trading import TradingService
from flows.runtime.worker.worker import _tell_failure
from tasks.alerts.kinds import OF_EVENT, alert_of
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tests.support.desk import settings

KEYS = Keys("main")
SECRET = "a-secret-that-nobody-may-see"


@pytest.fixture
def trading(redis_url: str, redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[TradingService]:
    """The process's trading service, with a secret among its settings."""
    service = TradingService(settings(redis_url=redis_url, exchange={"api_key": SECRET, "secret": "other-secret"}))
    monkeypatch.setattr(process, "service", service_of(service))
    try:
        yield service
    finally:
        service.close()


def service_of(service: TradingService) -> Any:
    """What stands for `service`, once it has been called."""

    class Known:
        def __call__(self) -> TradingService:
            return service

        def cache_info(self) -> Any:
            return type("Info", (), {"currsize": 1})

    return Known()


async def newest(redis: RedisClient) -> tuple[str, dict[str, Any]]:
    """Kind and facts of the newest event."""
    found: Any = await redis.xrevrange(KEYS.events, count=1)
    ((_, event),) = found
    return event["type"], json.loads(event["body"])


async def test_a_flow_that_fails_is_told(
    redis: RedisClient, trading: TradingService, caplog: pytest.LogCaptureFixture
) -> None:
    """By name, run and error; one that was cancelled or completed is not."""
    run = FlowRun(name="grid-tick BTC/USDT 12:00", flow_id="6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    for state in (Completed(), Cancelled()):
        await asyncio.to_thread(_tell_failure, "grid-tick", run, state)
    assert await redis.xlen(KEYS.events) == 0
    error = ValueError(f"refused with key {SECRET}")
    await asyncio.to_thread(_tell_failure, "grid-tick", run, Failed(data=error))
    kind, facts = await newest(redis)
    assert kind == EventKind.FLOW_CRASHED
    assert (facts["flow"], facts["run"], facts["error_type"]) == ("grid-tick", run.name, "ValueError")
    assert SECRET not in json.dumps(facts)
    alerted = OF_EVENT[EventKind.FLOW_CRASHED]
    assert alerted is not None
    assert "ValueError" in alert_of(alerted, facts, "en").message
    assert any(record.exc_info for record in caplog.records), "the log has the traceback"


async def test_a_process_that_ends_with_an_error_is_told(redis: RedisClient, trading: TradingService) -> None:
    """With its type and time."""
    error = RuntimeError("the loop is gone")
    await asyncio.to_thread(trading.tell_crash, EventKind.PROCESS_CRASHED, error, process="worker 7")
    kind, facts = await newest(redis)
    assert (kind, facts["process"], facts["error"]) == (EventKind.PROCESS_CRASHED, "worker 7", "the loop is gone")
    assert facts["at"]


async def test_without_redis_a_crash_is_logged_only(redis: RedisClient, trading: TradingService) -> None:
    """Telling it fails nobody."""
    trading._redis_url = "redis://127.0.0.1:9/0"
    await asyncio.to_thread(trading.tell_crash, EventKind.PROCESS_CRASHED, RuntimeError("x"), process="worker 7")
    assert await redis.xlen(KEYS.events) == 0
