"""A process that takes from the shared budget as fast as it is allowed to and notes the moment of each grant.

`python -m tests.support.budget_racer REDIS_URL SECONDS TASKS COST_MS`; grants go to the list `grants`, Redis time (ms).
"""

import asyncio
import sys
import time

from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.limits.budget import Allowance, Budget, BudgetExhausted
from tasks.exchange.limits.call_class import CallClass, call_class

GRANTS = "grants"
ALLOWANCE = Allowance(window_ms=2000, account_window_ms=4000)


def budget(redis: RedisClient, account: str = "main", allowance: Allowance = ALLOWANCE) -> Budget:
    """A budget of `account` at an exchange called `test`."""
    return Budget(redis, Keys(account), AddressKeys("test"), allowance)


async def race(url: str, seconds: float, tasks: int, cost_ms: float) -> None:
    """`tasks` tasks take until the time is up."""
    redis = connect(url)
    shared = budget(redis)
    ends = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < ends:
            try:
                with call_class(CallClass.CANCEL, wait_seconds=ends - time.monotonic()):
                    await shared.take(cost_ms)
            except BudgetExhausted:
                return
            second, micro = await redis.time()
            await redis.rpush(GRANTS, second * 1000 + micro // 1000)

    await asyncio.gather(*(one() for _ in range(tasks)))
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
