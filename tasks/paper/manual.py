"""Candles given as a list and advanced by an explicit call: for tests and for driving a market by hand.

The candles lie in Redis, so every process that attaches sees the same market and may advance it.
"""

from tasks.base.redis_client import RedisClient
from tasks.paper.candles import Bar, unpack


class ManualSeries:
    """The candles of one symbol in a Redis list."""

    history = 0

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    async def length(self) -> int:
        return int(await self._redis.llen(self._key))

    async def bars(self, start: int, stop: int) -> list[Bar]:
        texts = await self._redis.lrange(self._key, start, stop - 1) if stop > start else []
        return [unpack(str(text)) for text in texts]

    async def find(self, at_ms: int) -> int:
        everything = await self.bars(0, await self.length())
        return next((index for index, bar in enumerate(everything) if bar.at >= at_ms), len(everything))
