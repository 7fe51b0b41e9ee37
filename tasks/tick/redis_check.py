"""Checks that Redis keeps what it is given: real orders need an append-only file, and no eviction."""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from tasks.base.errors import ConfigError, Problem
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings

_ACCEPT = 'or set redis_risk = "accepted" to trade all the same'
_UNREADABLE = "(unreadable)"


async def check_redis(redis: RedisClient, settings: Settings) -> None:
    """Raise ConfigError where Redis may lose the journal of real orders. `redis_risk = "accepted"` skips the check."""
    if settings.redis_risk == "accepted":
        return
    problems = redis_problems(await _section(redis, "persistence"), await _section(redis, "memory"))
    if problems:
        raise ConfigError(problems, "the Redis server, for real orders")


async def _section(redis: RedisClient, name: str) -> Mapping[str, Any]:
    """A section of INFO; empty where this user may not read it."""
    try:
        found: Mapping[str, Any] = await redis.info(name)
    except ResponseError:
        return {}
    return found


def redis_problems(persistence: Mapping[str, Any], memory: Mapping[str, Any]) -> list[Problem]:
    """What lets a server with these sections of INFO lose records. A fact that is missing counts as a problem. Pure.

    A policy that evicts is refused although `maxmemory` is 0: one CONFIG SET would make it evict.
    """
    found = []
    append_only = persistence.get("aof_enabled")
    if append_only is None:
        found.append(_unread("appendonly", "INFO persistence"))
    elif not int(append_only):
        rule = "a restart of Redis could lose the journal of orders that rest on the exchange"
        found.append(Problem("appendonly", "no", rule, f"Set `appendonly yes` in Redis, {_ACCEPT}"))
    policy = memory.get("maxmemory_policy")
    if policy is None:
        found.append(_unread("maxmemory-policy", "INFO memory"))
    elif policy != "noeviction":
        rule = "Redis could drop records of orders when its memory is full"
        found.append(
            Problem("maxmemory-policy", str(policy), rule, f"Set `maxmemory-policy noeviction` in Redis, {_ACCEPT}")
        )
    return found


def _unread(name: str, command: str) -> Problem:
    rule = "real orders need a Redis that shows that it loses nothing"
    return Problem(name, _UNREADABLE, rule, f"Allow this user the command {command}, {_ACCEPT}")
