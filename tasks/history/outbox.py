"""Reading the outbox, and the archiver's state in Redis."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.base import leader
from tasks.base.keys import Keys
from tasks.base.outbox import Record
from tasks.base.redis_client import RedisClient, hash_of, script

LEASE_MS = leader.LEASE_MS
MOST_RECORDS = 1000
LIVE_RECORDS = 5000  # that live readers may ask for again
_PACKAGE = "tasks.history"
_POLL_SECONDS = 0.1
_FIRST_LIVE = 100
_FREE_AGAIN = 0.9  # buys go on once the outbox is below this share of its bound


class Reading(NamedTuple):
    """The oldest records, and the right to archive them. `server`: ids of the Redis server that they are in."""

    fence: int
    server: str
    records: tuple[Record, ...]


class Backlog(NamedTuple):
    """What waits in the outbox."""

    records: int
    bytes: int


async def read(redis: RedisClient, keys: Keys, owner: str) -> Reading | None:
    """The oldest records; None while another archiver has the lease."""
    names = [keys.history_lease, keys.history_fence, keys.outbox]
    answer = await script(redis, _PACKAGE, "read_outbox")(keys=names, args=[owner, LEASE_MS, MOST_RECORDS])
    if len(answer) == 1:
        return None
    fence, server, entries = answer
    return Reading(int(fence), str(server), tuple(_record(str(name), flat) for name, flat in entries))


def records_of(entries: Sequence[tuple[str, Any]]) -> list[Record]:
    """Entries as redis-py gives them."""
    return [Record(str(name), fields.get("kind", ""), fields.get("body", "")) for name, fields in entries]


def _record(entry_id: str, flat: Sequence[str]) -> Record:
    fields = hash_of(flat)
    return Record(entry_id, fields.get("kind", ""), fields.get("body", ""))


async def delete(redis: RedisClient, keys: Keys, reading: Reading) -> None:
    """Delete what is in the database. Where Redis is another server by now, it is read and found there again."""
    ids = [record.entry_id for record in reading.records]
    if ids:
        await script(redis, _PACKAGE, "delete_archived")(keys=[keys.outbox], args=[reading.server, *ids])


async def relay(redis: RedisClient, keys: Keys) -> int:
    """Copy new records to the stream for live readers; how many. A database that is away does not hold them up."""
    names, numbers = [keys.outbox, keys.live], [MOST_RECORDS, LIVE_RECORDS, _FIRST_LIVE]
    return int(await script(redis, _PACKAGE, "relay_live")(keys=names, args=numbers))


async def backlog(redis: RedisClient, keys: Keys) -> Backlog:
    """How many records wait, and how much memory they take."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.xlen(keys.outbox)
        pipe.memory_usage(keys.outbox)
        count, size = await pipe.execute()
    return Backlog(int(count), int(size or 0))


async def store_backlog(redis: RedisClient, keys: Keys, found: Backlog, most_bytes: int) -> bool:
    """Store what waits, for the status; refuse new buys while it is too much. Whether that has just begun."""
    was_full = await redis.hget(keys.funds, "history_full") == "1"
    is_full = found.bytes > most_bytes * (_FREE_AGAIN if was_full else 1)
    await redis.hset(keys.history, mapping={"waiting": found.records, "bytes": found.bytes})
    if is_full != was_full:
        await redis.hset(keys.funds, "history_full", int(is_full))
    return is_full and not was_full


async def is_archived(redis: RedisClient, keys: Keys, seconds: float) -> bool:
    """Whether all records of now reach the database within that time. Does not wait where nobody archives."""
    newest: Any = await redis.xrevrange(keys.outbox, count=1)
    deadline = time.monotonic() + seconds
    while newest and await redis.xrange(keys.outbox, max=newest[0][0], count=1):
        if time.monotonic() >= deadline or not await redis.exists(keys.history_lease):
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def leader_place(redis: RedisClient, keys: Keys) -> str | None:
    """Which database the archiver with the lease writes to; None where nobody has it."""
    if not await redis.exists(keys.history_lease):
        return None
    place = await redis.hget(keys.history, "place")
    return None if place is None else str(place)
