"""Calls to the exchange and log records, counted over all workers without a round trip of their own."""

import logging
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from dashboard.metrics import Reading, activity_metrics
from tasks.base.clock import to_ms, utc_now
from tasks.base.keys import AddressKeys, Keys
from tasks.base.log_setup import RedisLogHandler, utc_day
from tasks.base.redis_client import RedisClient
from tasks.base.tally import Batch, Tally
from tasks.exchange import call_counts
from tasks.exchange.call_counts import counted
from tasks.exchange.limits.token_bucket import TokenBucket
from tasks.settings.model import Settings
from tasks.tick.heartbeat import Heartbeat, beat, end_beating
from tasks.views.activity import ActivityView, free_share, read_activity
from tests.support.round_trips import counted_round_trips
from tests.support.views import NOW, status

KEYS = Keys("main")


def worker(name: str) -> Heartbeat:
    """A worker's heartbeat."""
    return Heartbeat(worker=name, version="1", host="h", pid=1, started_ms=1)


async def test_counts_of_all_workers_add_up_once(redis: RedisClient) -> None:
    """A beat that is sent again, because its answer was lost, adds nothing; one that ends in order sends the rest."""
    one, two = Tally(), Tally()
    one.add("calls|fetch_ticker", 3)
    first = one.batch()
    await beat(redis, keys=KEYS, heartbeat=worker("a"), counts=first)
    one.add("calls|fetch_ticker", 2)  # meanwhile; the answer was lost
    assert one.batch() == first
    await beat(redis, keys=KEYS, heartbeat=worker("a"), counts=one.batch())
    one.received(first)
    assert one.batch() == Batch(2, {"calls|fetch_ticker": 2})
    await beat(redis, keys=KEYS, heartbeat=worker("a"), counts=one.batch())
    two.add("calls|fetch_ticker", 10)
    two.add("errors|NetworkError")
    await end_beating(redis, keys=KEYS, worker="b", counts=two.batch())
    found = await read_activity(Settings(), redis)
    assert found.calls == {"fetch_ticker": 15}
    assert found.errors == {"NetworkError": 1}


def test_a_batch_is_kept_until_it_is_received() -> None:
    """What is counted meanwhile goes into the next one; nothing new is no batch."""
    tally = Tally()
    assert tally.batch() == Batch(0, {})
    tally.add("a")
    sent = tally.batch()
    tally.received(Batch(sent.sequence + 5, {}))
    assert tally.batch() == sent
    tally.received(sent)
    assert tally.batch() == Batch(1, {})


async def test_calls_are_counted_by_method_and_failures_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is gone is an answer, no failure."""
    tally = Tally()
    monkeypatch.setattr(call_counts, "EXCHANGE_CALLS", tally)

    async def fetch_ticker(error: Exception | None = None) -> str:
        if error is not None:
            raise error
        return "ticker"

    assert await counted(fetch_ticker) == "ticker"
    for error in (ccxt.OrderNotFound("x"), ccxt.RequestTimeout("x"), ccxt.RequestTimeout("x")):
        with pytest.raises(type(error)):
            await counted(fetch_ticker, error)
    assert tally.batch().counts == {"calls|fetch_ticker": 4, "errors|RequestTimeout": 2}


async def test_warnings_and_errors_are_counted_with_the_lines(redis: RedisClient) -> None:
    """In the round trip that writes the lines; each once, also where the queue had no room for the line."""
    handler = RedisLogHandler("worker")
    for level, count in ((logging.INFO, 5), (logging.WARNING, 3), (logging.ERROR, 2100)):
        record = {"name": "tasks.x", "levelno": level, "levelname": logging.getLevelName(level), "msg": "m"}
        for _ in range(count):
            handler.handle(logging.makeLogRecord(record))
    await redis.ping()
    with counted_round_trips() as trips:
        await handler.flush_to(redis, KEYS)
        await handler.flush_to(redis, KEYS)
        assert trips.count == 1
    found = await read_activity(Settings(), redis)
    assert found.log == found.log_today == {"WARNING": 3, "ERROR": 2100}
    assert 0 < await redis.ttl(KEYS.log_counts(utc_day(utc_now().timestamp()))) <= 3 * 86_400


async def test_the_rate_budget_and_a_ban(redis: RedisClient) -> None:
    """The scarcer bucket counts; what nobody has used of late is full. One round trip."""
    await redis.ping()
    with counted_round_trips() as trips:
        assert (await read_activity(Settings(), redis)).lowest_budget is None
        assert trips.count == 1
    now = to_ms(utc_now())
    await redis.hset(AddressKeys("binance").budget, mapping={"left": "0", "at": str(now + 60_000)})
    await redis.set(KEYS.ban, f"{now + 60_000} {now}")
    found = await read_activity(Settings(), redis)
    assert found.lowest_budget == 0
    assert 50_000 < found.banned_ms <= 60_000
    bucket = TokenBucket("k", "b", 1000)
    stored = {"left": str(bucket.capacity / 2), "at": str(NOW)}
    assert free_share(bucket, stored, NOW) == Decimal("0.5")
    assert free_share(bucket, stored, NOW + 10**9) == 1
    assert free_share(bucket, {"left": "-5", "at": str(NOW)}, NOW) == 0


def test_metrics_of_the_exchange_and_the_log() -> None:
    """Counters with a label, zero from the start where an alert needs it."""
    activity = ActivityView(
        calls={"fetch_ticker": 7}, errors={"RequestTimeout": 2}, budget={"address": Decimal("0.25")}
    )
    reading = Reading(status(), 0, {}, NOW, activity.model_copy(update={"log": {"ERROR": 4}, "banned_ms": 1500}))
    found: dict[tuple[str, Any], float] = {}
    for family in activity_metrics(reading):
        found |= {(sample.name, tuple(sample.labels.values())): sample.value for sample in family.samples}
    assert found["gridflow_exchange_calls_total", ("fetch_ticker",)] == 7
    assert found["gridflow_exchange_errors_total", ("RequestTimeout",)] == 2
    assert found["gridflow_log_records_total", ("ERROR",)] == 4
    assert found["gridflow_log_records_total", ("WARNING",)] == 0
    assert found["gridflow_rate_budget_free", ("address",)] == 0.25
    assert found["gridflow_rate_budget_free", ("account",)] == 1
    assert found["gridflow_exchange_ban_seconds", ()] == 1.5
