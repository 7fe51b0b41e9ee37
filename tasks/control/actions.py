"""What operators do is written down: who by, what, of what, and how it ended."""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar
from uuid import UUID, uuid4, uuid5

from redis.exceptions import RedisError

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import RedisClient

T = TypeVar("T")
_ONCE = UUID("0f2d6c1e-6d0e-4c8a-9a57-6a1d3e6f4b10")


class Actor(StrEnum):
    """Who acts for the operator."""

    CLI = "cli"
    DASHBOARD = "dashboard"
    PREFECT = "prefect"
    API = "api"
    TELEGRAM = "telegram"
    RULE = "rule"  # a limit of the settings


def _done(_: object) -> str:
    return "done"


async def recorded(
    redis: RedisClient,
    keys: Keys,
    by: Actor,
    action: str,
    subjects: Sequence[str],
    work: Callable[[], Awaitable[T]],
    result: Callable[[T], str] = _done,
    clock: Clock = utc_now,
    once: str = "",
) -> T:
    """Do the work, and append to the outbox that it was done, or why it failed. `subjects`: symbols; none: the pot.

    `once`: id of the action, where it may be asked for twice; see `record`.
    """
    try:
        found = await work()
    except Exception as error:
        with suppress(RedisError):  # what failed is more important
            await record(redis, keys, by, action, subjects, f"failed: {error}", clock, once)
        raise
    await record(redis, keys, by, action, subjects, result(found), clock, once)
    return found


async def record(
    redis: RedisClient,
    keys: Keys,
    by: Actor,
    action: str,
    subjects: Sequence[str],
    result: str,
    clock: Clock = utc_now,
    once: str = "",
) -> None:
    """Append one action to the outbox. The history keeps one record of those with the same `once`."""
    body = {
        "id": uuid5(_ONCE, f"{keys.account}|{once}").hex if once else uuid4().hex,
        "at_ms": to_ms(clock()),
        "actor": by.value,
        "action": action,
        "subject": ", ".join(subjects),
        "result": result,
    }
    await redis.xadd(keys.outbox, fields_of(RecordKind.ACTION, json.dumps(body)))
