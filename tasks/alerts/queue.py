"""The durable queue of alerts: a stream with one consumer group for each channel."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from tasks.alerts.models import Alert
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script

_CONSUMER = "deliverer"  # every leader reads as the same consumer, so what a killed one had is its own
_SEEN_MS = 7 * 86_400_000
_NOT_READ = ">"


class Raised(NamedTuple):
    """An alert to append. `once`: it is appended only if no alert with this key was, in a week; '' always."""

    alert: Alert
    once: str = ""


class Entry(NamedTuple):
    """An alert of the queue."""

    entry_id: str
    alert: Alert

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the queue."""
        return _order(self.entry_id)


async def append(
    redis: RedisClient,
    keys: Keys,
    alerts: Sequence[Raised],
    *,
    fence: int | None = None,
    state: Mapping[str, str] | None = None,
) -> int:
    """Append the alerts and write the state of the watch, in one step; how many are new, -1 for an old fence."""
    fields = [text for item in (state or {}).items() for text in item]
    args: list[str | int] = ["" if fence is None else fence, _SEEN_MS, len(fields) // 2, *fields, len(alerts)]
    for one in alerts:
        args += [one.once, one.alert.kind.value, one.alert.model_dump_json(exclude={"at_ms"})]
    names = [keys.alerts, keys.alerts_seen, keys.alerts_state, keys.alerts_fence]
    return int(await script(redis, "tasks.alerts", "append")(keys=names, args=args))


async def ensure_groups(redis: RedisClient, keys: Keys, names: Iterable[str]) -> None:
    """Make a consumer group for each channel. A new one begins with the oldest alert that is still there."""
    for name in names:
        try:
            await redis.xgroup_create(keys.alerts, name, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


async def drop_groups(redis: RedisClient, keys: Keys, names: Iterable[str]) -> None:
    """Remove the groups of channels that are not configured any more: what they had not read would stay for ever."""
    for name in names:
        await redis.xgroup_destroy(keys.alerts, name)


async def read_new(redis: RedisClient, keys: Keys, group: str, most: int) -> list[Entry]:
    """Alerts that the group has not read yet, oldest first. From now on they are pending."""
    return await _read(redis, keys, group, _NOT_READ, most)


async def read_pending(redis: RedisClient, keys: Keys, group: str, after: str, most: int) -> list[Entry]:
    """Alerts that were read and not acknowledged, after the entry `after`, oldest first."""
    return await _read(redis, keys, group, after, most)


async def _read(redis: RedisClient, keys: Keys, group: str, start: str, most: int) -> list[Entry]:
    answer: Any = await redis.xreadgroup(group, _CONSUMER, {keys.alerts: start}, count=most)
    streams = answer.values() if isinstance(answer, Mapping) else [entries for _, entries in answer or ()]
    found = []
    for entries in streams:
        rows = entries[0] if entries and isinstance(entries[0], list) else entries
        found += [_entry(str(name), fields) for name, fields in rows if fields]
    return found


def _entry(entry_id: str, fields: Mapping[str, str]) -> Entry:
    alert = Alert.model_validate_json(fields["body"])
    return Entry(entry_id, alert.model_copy(update={"at_ms": int(entry_id.partition("-")[0])}))


async def settle(
    redis: RedisClient, keys: Keys, group: str, ids: Sequence[str], state: Mapping[str, str] | None = None
) -> None:
    """Acknowledge alerts, and write the channel's state in the same step."""
    async with redis.pipeline(transaction=True) as pipe:
        for first in range(0, len(ids), 1000):
            pipe.xack(keys.alerts, group, *ids[first : first + 1000])
        for field, text in (state or {}).items():
            pipe.hset(keys.alert_channels, field, text)
        await pipe.execute()


async def waiting(redis: RedisClient, keys: Keys) -> dict[str, int]:
    """How many alerts each group has not delivered yet."""
    groups: Any = await redis.xinfo_groups(keys.alerts)
    return {str(each["name"]): int(each["pending"]) + int(each["lag"] or 0) for each in groups}


async def trim(redis: RedisClient, keys: Keys) -> int:
    """Delete the alerts that every group has acknowledged; how many. Never by length: that would lose pending ones.

    What a group has is only ever more a moment later, so reading first and trimming then is safe.
    """
    groups: Any = await redis.xinfo_groups(keys.alerts)
    firsts = []
    for group in groups:
        pending: Any = await redis.xpending(keys.alerts, group["name"])
        firsts.append(str(pending["min"]) if pending["pending"] else _after(str(group["last-delivered-id"])))
    if not firsts:
        return 0
    oldest = min(firsts, key=_order)
    return int(await redis.xtrim(keys.alerts, minid=oldest, approximate=False))


def _order(entry_id: str) -> tuple[int, int]:
    at_ms, _, place = entry_id.partition("-")
    return int(at_ms), int(place)


def _after(entry_id: str) -> str:
    at_ms, place = _order(entry_id)
    return f"{at_ms}-{place + 1}"
