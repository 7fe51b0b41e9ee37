"""One symbol, two workers: the lease lets one of them tick, the fence refuses what a stalled one still writes."""

import pytest

from tasks.base.errors import LeaseLost
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.tick.trader import LeaseHeld
from tests.support.desk import BTC, open_desk, settings, walk


async def test_only_the_holder_ticks(redis: RedisClient) -> None:
    """The second worker is told how long the lease still lasts."""
    desk = await open_desk(redis, settings(), {BTC: walk(5)})
    first, second = await desk.trader(owner="a"), await desk.trader(owner="b")
    fence = (await first.tick()).fence
    with pytest.raises(LeaseHeld) as held:
        await second.tick()
    assert 0 < held.value.wait_ms <= 5000

    await first.end_lease()
    assert (await second.tick()).fence == fence + 1  # each new lease has a higher fence
    await desk.close()


async def test_a_stalled_worker_writes_nothing(redis: RedisClient) -> None:
    """The first worker stalls in the middle of a tick, its lease runs out, the second ticks: the first is refused."""
    desk = await open_desk(redis, settings(), {BTC: walk(5)})
    second = await desk.trader(owner="b")
    keys = Keys("main")

    stalled = await desk.trader(owner="a")
    read = stalled._read

    async def slow_read(*arguments: object) -> object:
        found = await read(*arguments)  # type: ignore[arg-type]
        await redis.delete(keys.lease(BTC))  # the lease runs out while the worker stands still
        await second.tick()
        return found

    stalled._read = slow_read  # type: ignore[method-assign, assignment]
    with pytest.raises(LeaseLost):
        await stalled.tick()
    orders = [order.client_id for order in await desk.client.open_orders(BTC)]
    assert len(orders) == len(set(orders))
    await desk.close()
