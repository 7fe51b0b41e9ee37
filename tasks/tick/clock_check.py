"""Checks this machine's clock against Redis: workers compare times, so their clocks must agree."""

from tasks.base.clock import Clock, utc_now
from tasks.base.errors import StateError
from tasks.base.redis_client import RedisClient

MAX_SECONDS = 2.0


async def check_clock(redis: RedisClient, clock: Clock = utc_now) -> None:
    """Raise StateError where this machine's clock differs from Redis's by more than MAX_SECONDS."""
    before = clock()
    seconds, micros = await redis.time()
    after = clock()
    theirs = int(seconds) + int(micros) / 1e6
    off = max(before.timestamp() - theirs, theirs - after.timestamp())
    if off > MAX_SECONDS:
        raise StateError(
            f"this machine's clock is {off:.1f} s off Redis's, more than {MAX_SECONDS:.0f} s. "
            "Synchronise both machines with NTP"
        )
