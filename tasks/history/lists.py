"""Records that earlier versions kept in Redis only, as capped lists. They go into a new history once."""

import json

from tasks.base.keys import Keys
from tasks.base.outbox import Record, RecordKind
from tasks.base.redis_client import RedisClient
from tasks.funds.store import all_symbols


async def records_in_lists(redis: RedisClient, keys: Keys) -> list[Record]:
    """The records in the lists of fills, orders, rebalances, refusals and equity points, oldest first in each."""
    found: list[Record] = []
    for symbol in await all_symbols(redis, keys=keys):
        grid = await redis.get(keys.grid(symbol))
        if grid:
            found.append(_record(RecordKind.GRID, str(grid), "created_ms"))
        found += await _list(redis, keys.old_orders(symbol), RecordKind.ORDER, "ended_ms")
        found += await _list(redis, keys.old_fills(symbol), RecordKind.FILL, "at_ms")
    found += await _list(redis, keys.old_rebalances, RecordKind.REBALANCE, "at_ms")
    found += await _list(redis, keys.old_equity, RecordKind.EQUITY, "at_ms")
    refusals = reversed(await redis.lrange(keys.old_blocked, 0, -1))
    found += [Record(f"{str(text).partition('|')[0]}-0", RecordKind.BLOCKED, str(text)) for text in refusals]
    return found


async def _list(redis: RedisClient, key: str, kind: RecordKind, time: str) -> list[Record]:
    return [_record(kind, str(text), time) for text in reversed(await redis.lrange(key, 0, -1))]


def _record(kind: RecordKind, body: str, time: str) -> Record:
    return Record(f"{json.loads(body).get(time) or 0}-0", kind, body)


async def delete_lists(redis: RedisClient, keys: Keys) -> None:
    """Delete the lists: the history has what they hold. The audit needs a symbol's newest fill, so that one stays."""
    symbols = await all_symbols(redis, keys=keys)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.delete(keys.old_rebalances, keys.old_equity, keys.old_blocked)
        for symbol in symbols:
            pipe.delete(keys.old_orders(symbol))
            pipe.ltrim(keys.old_fills(symbol), 0, 0)
        await pipe.execute()
