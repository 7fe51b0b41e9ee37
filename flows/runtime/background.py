"""What a trading service does in the background, on its trading loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from tasks.base.keys import Keys
from tasks.base.log_setup import RedisLogHandler
from tasks.base.redis_client import connect
from tasks.tick.heartbeat import BEAT_SECONDS

log = logging.getLogger(__name__)
_MONITOR_SECONDS = 60


async def each_minute(check: Callable[[], Awaitable[None]]) -> None:
    """Check each minute, without a Prefect run."""
    while True:
        await asyncio.sleep(_MONITOR_SECONDS)
        try:
            await check()
        except Exception:  # the next check must run, whatever failed in this one
            log.exception("monitor: check failed; the next one is in a minute")


async def watch_for_dark(look: Callable[[], Awaitable[None]]) -> None:
    """Look for dark symbols each BEAT_SECONDS. While Redis does not answer, its own log lines say so."""
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        try:
            await look()
        except RedisError as error:
            log.debug("no look for dark symbols", extra={"error": str(error)})
        except Exception:  # the next look must come, whatever failed in this one
            log.exception("the look for dark symbols failed; the next one is in some seconds")


async def flush_logs(logs: RedisLogHandler, redis_url: str, keys: Keys) -> None:
    """Write the log lines of this process to Redis each second."""
    redis = connect(redis_url)
    try:
        while True:
            try:
                await logs.flush_to(redis, keys)
            except RedisError:
                await asyncio.sleep(5)  # the lines stay in the queue; the terminal has shown them
            await asyncio.sleep(1)
    finally:
        await redis.aclose()
