"""Circuit breakers shared through a real Redis: one probe over all processes, in windows, and where people look."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from dashboard.metrics import Reading, trading_metrics
from dashboard.present.notes import breaker_text
from dashboard.present.notices import notices
from tasks.base.clock import utc_now
from tasks.base.errors import ExchangeError, ExchangeUnavailable, LeaseLost
from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.limits.breaker_store import EXCHANGE, Breakers, read_breakers
from tasks.exchange.limits.circuit_breaker import Breaker, BreakerRules, Phase
from tasks.tick.window import run_window
from tasks.views.parts import part_views
from tasks.views.render import status_table
from tasks.views.steps import read_status
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk

KEYS = Keys("main")
WAIT_MS, LONGEST_WAIT_MS = 500, 2000
QUICK: dict[str, Any] = {"first_wait_ms": WAIT_MS, "max_wait_ms": LONGEST_WAIT_MS, "probe_ms": 1500}
SYMBOL = BreakerRules(threshold=3, window_ms=60_000, consecutive=True, **QUICK)
WHOLE = BreakerRules(threshold=3, window_ms=60_000, consecutive=False, **QUICK)
DOWN = ExchangeUnavailable("RequestTimeout")


def breakers(redis: RedisClient) -> Breakers:
    """Breakers that wait for moments, not for minutes."""
    return Breakers(redis, KEYS, SYMBOL, WHOLE)


async def fail(shared: Breakers, symbol: str, times: int = 1, error: Exception = DOWN, who: str = "w") -> None:
    """Failed ticks of a symbol."""
    for _ in range(times):
        given = await shared.allowed(symbol, who)
        assert given.allowed
        await shared.report(given, error)


async def changes(redis: RedisClient) -> list[dict[str, Any]]:
    """What the events say, oldest first."""
    entries: Any = await redis.xrange(KEYS.events)
    assert all(fields["type"] == EventKind.BREAKER_CHANGED for _, fields in entries)
    return [json.loads(fields["body"]) for _, fields in entries]


@asynccontextmanager
async def many(redis_url: str, count: int) -> AsyncIterator[list[Breakers]]:
    """Breakers of `count` processes, each with its own connection."""
    clients = [connect(redis_url) for _ in range(count)]
    yield [breakers(client) for client in clients]
    await asyncio.gather(*(client.aclose() for client in clients))


async def test_failed_ticks_in_a_row_stop_one_symbol_only(redis: RedisClient) -> None:
    """The others go on; after the wait one probe closes it again. Each change is an event."""
    shared = breakers(redis)
    await fail(shared, BTC, 3)
    refused = await shared.allowed(BTC, "w")
    assert not refused.allowed
    assert 0 < refused.wait_seconds <= WAIT_MS / 1000
    assert "RequestTimeout" in refused.why
    assert (await shared.allowed("ETH/USDT", "w")).allowed
    await asyncio.sleep(WAIT_MS / 1000)
    probe = await shared.allowed(BTC, "w")
    assert probe.probe
    await shared.report(probe, None)
    assert (await read_breakers(redis, KEYS))[BTC].phase is Phase.CLOSED
    events = await changes(redis)
    assert [(event["breaker"], event["to"]) for event in events] == [
        (BTC, "open"),
        (BTC, "half_open"),
        (BTC, "closed"),
    ]


async def test_three_symbols_without_the_exchange_stop_all(redis: RedisClient) -> None:
    """A fault of one symbol's orders is not the exchange's; three unavailable are."""
    shared = breakers(redis)
    await fail(shared, "A/USDT", error=ExchangeError("its own trouble"))
    await fail(shared, "B/USDT")
    await fail(shared, "C/USDT")
    assert (await shared.allowed("E/USDT", "w")).allowed
    await fail(shared, "D/USDT")
    assert not (await shared.allowed("E/USDT", "w")).allowed
    assert (await read_breakers(redis, KEYS))[EXCHANGE].phase is Phase.OPEN


async def test_one_probe_over_many_processes(redis: RedisClient, redis_url: str) -> None:
    """40 workers ask at the same moment, again and again: one goes through, and its failure doubles the wait."""
    async with many(redis_url, 40) as workers:
        for symbol in ("A/USDT", "B/USDT", "C/USDT"):
            await fail(workers[0], symbol)
        for opening in range(1, 4):
            await asyncio.sleep(min(WAIT_MS * 2 ** (opening - 1), LONGEST_WAIT_MS) / 1000 + 0.01)
            answers = await asyncio.gather(
                *(worker.allowed(f"S{number}/USDT", f"w{number}") for number, worker in enumerate(workers))
            )
            passed = [answer for answer in answers if answer.allowed]
            assert len(passed) == 1
            assert passed[0].probe
            await workers[7].report(passed[0], DOWN)
            state = (await read_breakers(redis, KEYS))[EXCHANGE]
            assert (state.phase, state.openings) == (Phase.OPEN, opening + 1)


async def test_a_prober_that_dies_is_replaced(redis: RedisClient) -> None:
    """Its probe counts for so long, then the next one's."""
    shared = breakers(redis)
    await fail(shared, BTC, 3)
    await asyncio.sleep(WAIT_MS / 1000 + 0.01)
    assert (await shared.allowed(BTC, "dies")).probe
    assert not (await shared.allowed(BTC, "next")).allowed
    await asyncio.sleep(SYMBOL.probe_ms / 1000 + 0.01)
    probe = await shared.allowed(BTC, "next")
    assert probe.probe
    await shared.report(probe, None)
    assert (await shared.allowed(BTC, "any")).allowed


async def test_a_probe_that_could_not_look_makes_room(redis: RedisClient) -> None:
    """The lease went elsewhere: nothing was learned, and nobody waits longer for it."""
    shared = breakers(redis)
    await fail(shared, BTC, 3)
    await asyncio.sleep(WAIT_MS / 1000 + 0.01)
    probe = await shared.allowed(BTC, "w")
    await shared.report(probe, LeaseLost(BTC, 1))
    assert (await shared.allowed(BTC, "next")).probe


async def test_a_ban_opens_the_exchanges_breaker_for_its_time(redis: RedisClient) -> None:
    """The first tick that comes sees it."""
    now_ms = (await redis.time())[0] * 1000
    await redis.set(KEYS.ban, now_ms + 30_000, px=30_000)
    shared = breakers(redis)
    refused = await shared.allowed(BTC, "w")
    assert not refused.allowed
    assert 28 < refused.wait_seconds <= 30
    state = (await read_breakers(redis, KEYS))[EXCHANGE]
    assert (state.phase, state.retry_at_ms) == (Phase.OPEN, now_ms + 30_000)


async def test_nothing_is_written_while_all_is_well(redis: RedisClient) -> None:
    """A healthy tick costs one round trip, and its report none."""
    shared = breakers(redis)
    before = (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
    for _ in range(20):
        given = await shared.allowed(BTC, "w")
        assert given.at_rest
        await shared.report(given, None)
    assert (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0) == before
    assert not await redis.exists(KEYS.breakers)


async def test_concurrent_failures_are_all_counted(redis: RedisClient, redis_url: str) -> None:
    """Many processes report at the same moment; none of the reports is lost, and it opens once."""
    async with many(redis_url, 20) as workers:
        given = [await worker.allowed(f"S{number}/USDT", "w") for number, worker in enumerate(workers)]
        await asyncio.gather(*(worker.report(one, DOWN) for worker, one in zip(workers, given, strict=True)))
    found = await read_breakers(redis, KEYS)
    assert found.pop(EXCHANGE).phase is Phase.OPEN
    assert len(found) == 20
    assert all(len(breaker.failing) == 1 for breaker in found.values())
    events = await changes(redis)
    assert len(events) == 1


# --- in windows --------------------------------------------------------------------------------------------


async def window(desk: TestDesk, seconds: float) -> Any:
    """One window of the symbol with quick breakers."""
    trader = await desk.trader()
    ends_at = utc_now().timestamp() + seconds
    return await run_window(trader, ends_at, utc_now, lambda: None, breakers(desk.desk.redis))


async def test_a_window_skips_ticks_and_recovers_by_itself(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the breaker is open the exchange is left alone; skipped ticks are no failures; a probe brings it back."""
    desk = await open_desk(redis, settings(), {BTC: walk(50)})
    plain, calls = desk.client.orders_and_ticker, 0
    down = True

    async def orders_and_ticker(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if down:
            raise DOWN
        return await plain(*arguments, **named)

    monkeypatch.setattr(desk.client, "orders_and_ticker", orders_and_ticker)
    shared = breakers(redis)
    for _ in range(2):
        given = await shared.allowed(BTC, "earlier")
        await shared.report(given, DOWN)
    with caplog.at_level(logging.INFO):
        report = await window(desk, 0.1)
    assert report.failed_ticks == 1
    assert (calls, report.ticks) == (1, 0)
    before = calls
    with caplog.at_level(logging.INFO):
        report = await window(desk, 0.05)
    assert (report.failed_ticks, calls) == (0, before)
    assert [record.getMessage() for record in caplog.records].count("tick skipped: circuit breaker open") == 1
    down = False
    report = await window(desk, 1)
    assert report.ticks >= 1
    assert (await read_breakers(redis, KEYS))[BTC].phase is Phase.CLOSED
    await desk.close()


async def test_people_see_it(redis: RedisClient) -> None:
    """Status, terminal table, dashboard line and metrics."""
    own = settings()
    desk = await open_desk(redis, own, {BTC: walk(5)})
    healthy = await read_status(own, redis)
    assert (healthy.breaker, healthy.symbols[0].breaker) == (Phase.CLOSED, Phase.CLOSED)
    assert breaker_text(healthy) == ""
    await fail(breakers(redis), BTC, 3)
    view = await read_status(own, redis)
    assert view.symbols[0].breaker is Phase.OPEN
    assert view.symbols[0].breaker_until_ms is not None
    assert BTC in breaker_text(view)
    assert "breaker open until" in shown(view)
    await redis.hset(KEYS.breakers, EXCHANGE, Breaker(phase=Phase.OPEN, why="timeouts").model_dump_json())
    view = await read_status(own, redis)
    assert breaker_text(view) == ""
    assert "its circuit breaker is open until 00:00:00 UTC: timeouts" in notices(view, part_views(view, 0), 0, UTC)
    assert "timeouts" in shown(view)
    samples = {
        (sample.name, sample.labels.get("symbol")): sample.value
        for metric in trading_metrics(Reading(view, 0, {}, 0))
        for sample in metric.samples
    }
    assert samples["gridflow_breaker_open", BTC] == 1
    assert samples["gridflow_exchange_breaker_open", None] == 1
    await desk.close()


def shown(view: Any) -> str:
    """What the terminal shows."""
    out = StringIO()
    Console(file=out, width=160).print(status_table(view))
    return out.getvalue()
