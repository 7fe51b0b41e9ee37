"""All that a Redis server holds, in words that two equal states share."""

from collections.abc import Collection
from json import dumps
from typing import Any

from tasks.base.redis_client import RedisClient


async def contents(redis: RedisClient, match: str = "*", but: Collection[str] = ()) -> str:
    """Every key (of a pattern, but for some) with its type and value, sorted, as hashes and sets have no order."""
    found = {}
    for key in sorted({str(key) async for key in redis.scan_iter(match)}.difference(but)):
        kind = str(await redis.type(key))
        found[key] = [kind, await _value(redis, key, kind)]
    return dumps(found)


async def _value(redis: RedisClient, key: str, kind: str) -> Any:
    if kind == "hash":
        return sorted((await redis.hgetall(key)).items())
    if kind == "set":
        return sorted(await redis.smembers(key))
    if kind == "zset":
        return await redis.zrange(key, 0, -1, withscores=True)
    if kind == "list":
        return await redis.lrange(key, 0, -1)
    if kind == "stream":
        return await redis.xrange(key)
    return await redis.get(key)


async def dumped(redis: RedisClient) -> dict[str, bytes]:
    """Every key as RESTORE takes it."""
    keys = [str(key) async for key in redis.scan_iter()]
    return {key: await redis.dump(key) for key in keys}  # type: ignore[misc]


async def put_back(redis: RedisClient, keys: dict[str, bytes]) -> None:
    """Empty the server and write the dumped keys, which then never expire."""
    await redis.flushall()
    for key, body in keys.items():
        await redis.restore(key, 0, body)
