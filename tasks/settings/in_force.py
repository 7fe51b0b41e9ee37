"""The settings that decide trading, as Redis holds them for every worker of an account. No secrets, URLs or paths.

Only `gridflow up` and `gridflow deploy` publish; a starting worker publishes where there are none yet. Every worker
trades by those in Redis, with its own keys and URLs.
"""

import json
from typing import Any, NamedTuple

from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.settings.model import Settings

_OWN: dict[str, Any] = {  # what stays each process's own
    "redis_url": True,
    "paper": True,
    "exchange": {"api_key", "secret", "password", "api_url"},
}
_MUST_AGREE = ("account", "quote", "exchange.id", "exchange.sandbox", "exchange.live", "live")


class InForce(NamedTuple):
    """The settings that a process trades by, their version, and the fields in which its own file differs."""

    settings: Settings
    version: int
    differing: tuple[str, ...]


def shared_part(settings: Settings) -> dict[str, Any]:
    """The settings that decide trading, as plain values."""
    return settings.model_dump(mode="json", exclude=_OWN)


async def publish(redis: RedisClient, settings: Settings, *, only_first: bool = False) -> int:
    """Put the trading part of `settings` in force; the version then in force. The same settings change nothing.

    `only_first`: where some are in force already, leave them.
    """
    body = json.dumps(shared_part(settings))
    key = Keys(settings.account).settings
    version = await script(redis, "tasks.settings", "publish_settings")(keys=[key], args=[body, int(only_first)])
    return int(version)


async def in_force(redis: RedisClient, own: Settings, *, only_look: bool = False) -> InForce:
    """The settings in force, completed by this process's own keys and URLs; its own where none were published.

    Raises StateError where fields differ that must agree (account, quote, exchange.id, sandbox and live), except for a
    process that trades nothing (`only_look`).
    """
    stored = await redis.hgetall(Keys(own.account).settings)
    if not stored:
        return InForce(own, 0, ())
    shared = json.loads(stored["body"])
    differing = differing_fields(shared_part(own), shared)
    clash = [name for name in differing if name in _MUST_AGREE]
    if clash and not only_look:
        raise StateError(
            f"account {own.account!r} trades with other settings for {', '.join(clash)}; "
            "make this worker's file and environment agree, or use another `account`"
        )
    return InForce(_completed(own, shared), int(stored["version"]), differing)


def _completed(own: Settings, shared: dict[str, Any]) -> Settings:
    kept = own.model_dump(include=_OWN)
    exchange = shared["exchange"] | kept["exchange"]
    return Settings.model_validate(shared | kept | {"exchange": exchange})


def differing_fields(mine: Any, theirs: Any, place: str = "") -> tuple[str, ...]:
    """Dotted names of the fields that differ, sorted; a table that only one side has counts as one field."""
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return () if mine == theirs else (place,)
    found: list[str] = []
    for name in sorted(mine.keys() | theirs.keys()):
        inner = f'{place}."{name}"' if "/" in name else f"{place}.{name}".lstrip(".")
        if name not in mine or name not in theirs:
            found.append(inner)
        else:
            found += differing_fields(mine[name], theirs[name], inner)
    return tuple(found)
