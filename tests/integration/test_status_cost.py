"""What status and audit cost, counted: both go symbol by symbol, so that a trading loop is never blocked for long."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from redis.asyncio.client import Pipeline

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Book, Fill
from tasks.ledger.steps import audit_funds
from tasks.views.steps import read_status, record_equity
from tasks.views.store import SLICE
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk
from tests.support.outbox import equity_points
from tests.support.round_trips import counted_round_trips

KEYS = Keys("main")


@pytest.fixture
def pipelines() -> Iterator[list[int]]:
    """How many commands each pipeline of this process sent."""
    sizes: list[int] = []
    execute = Pipeline.execute

    async def counted(pipe: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(pipe.command_stack))
        return await execute(pipe, *args, **kwargs)

    with patch.object(Pipeline, "execute", counted):
        yield sizes


async def desk_of(redis: RedisClient, count: int) -> TestDesk:
    """A desk with so many symbols, of which one has traded."""
    names = [BTC, *(f"C{number:02}/USDT" for number in range(count - 1))]
    own = settings(symbols=dict.fromkeys(names, settings().symbols[BTC]))
    desk = await open_desk(redis, own, {name: walk(60) for name in names})
    trader = await desk.trader()
    for _ in range(20):
        await trader.tick()
        await desk.exchange.advance(2)
    await trader.tick()
    return desk


@pytest.mark.parametrize("count", [1, 6, 23])
async def test_round_trips_grow_with_the_symbols(redis: RedisClient, count: int, pipelines: list[int]) -> None:
    """The status: a round trip for five symbols. The audit: one for each. A few more, whatever the number."""
    desk = await desk_of(redis, count)
    own, names = desk.desk.settings, list(desk.desk.settings.symbols)
    await read_status(own, redis)
    await audit_funds(redis, KEYS, names)
    pipelines.clear()
    with counted_round_trips() as trips:
        await read_status(own, redis)
        status = trips.count
        report = await audit_funds(redis, KEYS, names)
        audit = trips.count - status
    assert status == 7 + -(-count // SLICE)
    assert audit == 3 + count
    assert max(pipelines) <= max(min(count, SLICE) * 5, 11), "a slice holds more than its symbols"
    assert report.drift == ()
    await desk.close()


async def test_the_audit_reads_one_fill(redis: RedisClient) -> None:
    """However many there are: each carries the running sum, and the book has it too."""
    desk = await desk_of(redis, 1)
    newest, before = [Fill.model_validate_json(text) for text in await redis.lrange(KEYS.newest_fills(BTC), 0, 1)]
    book = Book.model_validate_json(await redis.get(KEYS.book(BTC)) or "")
    assert newest.filled_basis == book.filled_basis == book.basis
    assert before.filled_basis is not None
    change = newest.basis if newest.side.value == "buy" else -newest.basis
    assert newest.filled_basis == before.filled_basis + change
    await redis.config_resetstat()
    assert (await audit_funds(redis, KEYS, [BTC])).drift == ()
    calls = await redis.info("commandstats")
    assert calls["cmdstat_lindex"]["calls"] == 2, "of this version's list and of an earlier one's"
    assert "cmdstat_lrange" not in calls
    await desk.close()


async def test_a_lost_fill_is_found_by_the_running_sum(redis: RedisClient) -> None:
    """Also where the capped list has dropped older ones."""
    desk = await desk_of(redis, 1)
    await redis.ltrim(KEYS.newest_fills(BTC), 0, 2)
    assert (await audit_funds(redis, KEYS, [BTC])).drift == ()
    await redis.lpop(KEYS.newest_fills(BTC))
    (lost,) = (await audit_funds(redis, KEYS, [BTC])).drift
    assert lost.cause.name == "FILLS"
    await desk.close()


async def test_one_equity_point_a_minute(redis: RedisClient) -> None:
    """Of an account, whichever of its workers comes first; the others pay one round trip."""
    desk = await desk_of(redis, 3)
    own, now = desk.desk.settings, datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    await asyncio.gather(*(record_equity(own, redis, lambda: now) for _ in range(5)))
    assert len(await equity_points(redis, KEYS)) == 1
    assert 0 < await redis.pttl(KEYS.equity_minute) <= 30_000
    with counted_round_trips() as trips:
        await record_equity(own, redis, lambda: now + timedelta(seconds=29))
    assert trips.count == 1
    await redis.delete(KEYS.equity_minute)  # as its expiry does
    await record_equity(own, redis, lambda: now + timedelta(seconds=30))
    assert [point.at_ms % 60_000 for point in await equity_points(redis, KEYS)] == [30_000, 0]
    await desk.close()
