"""The settings in force: those that decide trading, in Redis for every worker of an account. No secrets, URLs or paths.

`gridflow up` and `gridflow deploy` publish them. A starting worker publishes its own where there are none. Every
worker trades by the settings in force, with its own keys and URLs.
"""

import json
from typing import NamedTuple

from pydantic import ValidationError

from tasks.base.errors import ConfigError, StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.settings.checks import rule_problems
from tasks.settings.differences import field_changes
from tasks.settings.model import Settings
from tasks.settings.places import Place, Values, selection, with_own
from tasks.settings.problems import problems_of
from tasks.settings.secret_values import secret_fields
from tasks.settings.validated import Validated

# Each process keeps its own of these.
_OWN: tuple[Place, ...] = (
    ("paper",),
    ("alerts",),
    ("logs",),
    ("dashboard",),
    ("exchange", "api_url"),
    ("redis_risk",),
    *(place for place in secret_fields() if place[0] not in ("alerts", "dashboard")),
)
MUST_AGREE = ("account", "quote", "exchange.id", "exchange.sandbox", "exchange.live", "live")


class InForce(NamedTuple):
    """The settings that a process trades by, their version, and the fields in which its own file differs."""

    settings: Settings
    version: int
    differing: tuple[str, ...]


def shared_part(settings: Settings) -> Values:
    """The settings that decide trading, as JSON values."""
    return settings.model_dump(mode="json", exclude=selection(_OWN))


async def publish(redis: RedisClient, settings: Settings, *, only_first: bool = False) -> int:
    """Put the trading part of `settings` in force; returns the version in force. The same settings change nothing.

    `only_first`: publish only where no settings are in force.
    """
    body = json.dumps(shared_part(settings))
    keys = Keys(settings.account)
    names = [keys.settings, keys.outbox]
    version = await script(redis, "tasks.settings", "publish_settings")(keys=names, args=[body, int(only_first)])
    return int(version)


async def put_back(redis: RedisClient, own: Settings, shared: Values, version: int) -> str:
    """Put settings of the history back in force, under their version, where none are; '' or why they are not.

    They must agree with this process's own in `MUST_AGREE`, and be settings that it can trade by.
    """
    clash = [change.field for change in field_changes(shared_part(own), shared) if change.field in MUST_AGREE]
    if clash:
        return f"they differ in {', '.join(clash)}"
    try:
        problems = rule_problems(Validated(_completed(own, shared, version)))
    except StateError as error:
        return str(error)
    if problems:
        return "; ".join(map(str, problems))
    key = Keys(own.account).settings
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(key, "version", str(version))
        pipe.hsetnx(key, "body", json.dumps(shared))
        await pipe.execute()
    return ""


async def published(redis: RedisClient, account: str) -> tuple[Values, int]:
    """The JSON values in force as they are stored, and their version; {} and 0 where none were published."""
    stored = await redis.hgetall(Keys(account).settings)
    return (json.loads(stored["body"]), int(stored["version"])) if stored else ({}, 0)


async def in_force(redis: RedisClient, own: Settings, *, only_look: bool = False) -> InForce:
    """The settings in force, completed by this process's own keys and URLs; its own where none were published.

    `only_look`: for a process that does not trade. It may differ in any field and needs no keys.
    Raises StateError where a field differs that must agree (account, quote, exchange.id, sandbox and live), and where
    Redis holds a field that this version does not accept. Raises ConfigError where the completed settings break a
    rule between fields.
    """
    shared, version = await published(redis, own.account)
    if not version:
        return InForce(own, 0, ())
    differing = tuple(change.field for change in field_changes(shared_part(own), shared))
    clash = [name for name in differing if name in MUST_AGREE]
    if clash and not only_look:
        raise StateError(
            f"account {own.account!r} trades with other settings for {', '.join(clash)}; "
            "make this worker's file and environment agree, or use another `account`"
        )
    settings = _completed(own, shared, version)
    problems = [] if only_look else rule_problems(Validated(settings))
    if problems:
        raise ConfigError(problems, f"version {version} of the settings in force, with this worker's own keys and URLs")
    return InForce(settings, version, differing)


def _completed(own: Settings, shared: Values, version: int) -> Settings:
    try:
        return Settings.model_validate(with_own(shared, own, _OWN))
    except ValidationError as error:
        wrong = "; ".join(f"{one.field} = {one.value}: {one.rule}" for one in problems_of(error))
    raise StateError(
        f"version {version} of the settings in force does not fit this version of Gridflow: {wrong}. "
        "Run one version on every machine, or put a file in force with `gridflow deploy`"
    )
