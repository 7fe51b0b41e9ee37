"""Redis's clock is set back by an hour, in virtual time: budget, ban and breaker go on as if nothing had happened."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.breaker_store import Breakers
from tasks.exchange.limits.budget import Budget, BudgetExhausted
from tasks.exchange.limits.priority import Priority, call_scope
from tasks.exchange.limits.token_bucket import REFILL
from tasks.exchange.venues.venue import RateLimits
from tests.support.virtual.redis import VirtualRedis, virtual_redis

pytestmark = pytest.mark.virtual_time
LIMITS = RateLimits(address_window_ms=10_000, account_window_ms=10_000)
CAPACITY = 2_000
HOUR = 3600.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualRedis]:
    """A Redis server in virtual time."""
    with virtual_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def redis(world: VirtualRedis) -> AsyncIterator[RedisClient]:
    """A client of it, empty."""
    world.step = 0.0
    await world.forget()
    client = world.client(random.Random(1))
    yield client
    await client.aclose()


def budget(redis: RedisClient) -> Budget:
    """A process's budget; what it remembers of bans is its own."""
    return Budget(redis, Keys("main"), AddressKeys("test"), LIMITS)


async def granted(shared: Budget, cost_ms: float) -> bool:
    """Whether one request may be sent now."""
    try:
        with call_scope(Priority.CANCEL, 0.01):
            await shared.take(cost_ms)
    except BudgetExhausted:
        return False
    return True


async def test_the_bucket_fills_as_before(world: VirtualRedis, redis: RedisClient) -> None:
    """It is empty when the clock goes back; afterwards it grants what flows in, and no more."""
    shared = budget(redis)
    assert await granted(shared, CAPACITY)
    world.step = -HOUR
    assert not await granted(shared, 100)
    for _ in range(5):
        await asyncio.sleep(0.1 / REFILL)
        assert await granted(shared, 100)
        assert not await granted(shared, 100)
    await asyncio.sleep(HOUR)
    assert await granted(shared, CAPACITY)
    assert not await granted(shared, 200)


async def test_a_ban_lasts_as_long_as_it_should(world: VirtualRedis, redis: RedisClient) -> None:
    """Sixty seconds: not an hour more, and not less than from the moment at which the step was seen."""
    await budget(redis).ban(60)
    await asyncio.sleep(10)
    world.step = -HOUR
    assert not await granted(budget(redis), 1)
    await asyncio.sleep(49)
    assert not await granted(budget(redis), 1)
    await asyncio.sleep(12)
    assert await granted(budget(redis), 1)


async def test_a_breaker_closes_again(world: VirtualRedis, redis: RedisClient) -> None:
    """Opened by the ban, it lets a probe through when the ban is over by the clock that was set back."""
    await budget(redis).ban(60)
    breakers = Breakers(redis, Keys("main"))
    assert not (await breakers.allowed("BTC/USDT", "one")).allowed
    world.step = -HOUR
    refused = await breakers.allowed("BTC/USDT", "one")
    assert (refused.allowed, refused.wait_seconds <= 60.1) == (False, True)
    assert not await granted(budget(redis), 1)
    await asyncio.sleep(62)
    assert (await breakers.allowed("BTC/USDT", "one")).allowed
