"""Workers on several machines compare moments: their clocks must agree."""

from tasks.base.clock import Clock, utc_now
from tasks.base.errors import StateError
from tasks.base.redis_client import RedisClient

MOST_SECONDS = 2.0


async def check_clock(redis: RedisClient, clock: Clock = utc_now) -> None:
    """Raise StateError where this machine's clock is further off Redis's than an order's protection could bear."""
    before = clock()
    seconds, micros = await redis.time()
    after = clock()
    theirs = int(seconds) + int(micros) / 1e6
    off = max(before.timestamp() - theirs, theirs - after.timestamp())
    if off > MOST_SECONDS:
        raise StateError(
            f"this machine's clock is {off:.1f} s off Redis's, more than {MOST_SECONDS:.0f} s; "
            "let a time service (NTP) set both"
        )
