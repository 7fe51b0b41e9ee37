"""A process that takes from the shared budget as fast as it is allowed to and notes the moment of each grant.

`python -m tests.support.budget_racer REDIS_URL SECONDS TASKS COST_MS MOST`; grants go to the list `grants`, Redis time
(ms). MOST: 1 for single requests that wait to the end, else batches of up to so many, some of which are given up.
"""

import asyncio
import random
import sys
import time
from contextlib import suppress

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.limits.budget import Budget, BudgetExhausted
from tasks.exchange.limits.priority import Priority, call_scope, request_batch
from tasks.exchange.venues.venue import RateLimits

GRANTS = "grants"
LIMITS = RateLimits(address_window_ms=2000, account_window_ms=4000)


def budget(redis: RedisClient, account: str = "main", limits: RateLimits = LIMITS) -> Budget:
    """A budget of `account` at an exchange called `test`."""
    return Budget(redis, Keys(account), AddressKeys("test"), limits)


async def race(url: str, seconds: float, tasks: int, cost_ms: float, most: int) -> None:
    """`tasks` tasks take until the time is up."""
    redis = connect(url)
    shared = budget(redis)
    ends = time.monotonic() + seconds

    async def take() -> None:
        with suppress(BudgetExhausted):
            await shared.take(cost_ms)
            second, micro = await redis.time()
            await redis.rpush(GRANTS, second * 1000 + micro // 1000)

    async def singles() -> None:
        while time.monotonic() < ends:
            with call_scope(Priority.CANCEL, wait_seconds=ends - time.monotonic()):
                await take()

    async def batches() -> None:
        while time.monotonic() < ends:
            size = random.randint(1, most)
            async with request_batch(random.choice([Priority.CANCEL, Priority.BUY]), size, random.uniform(0, 0.3)):
                await asyncio.gather(*(take() for _ in range(size)))
            await asyncio.sleep(0.01)

    await asyncio.gather(*((singles if most == 1 else batches)() for _ in range(tasks)))
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
