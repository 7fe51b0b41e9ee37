"""Several Lua scripts of the rate budget in one round trip."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from tasks.base.redis_client import RedisClient, script_source

_PACKAGE = "tasks.exchange.limits"


class ScriptCall(NamedTuple):
    """One run of `name`.lua of this package."""

    name: str
    keys: Sequence[str]
    args: Sequence[str | int | float]


async def run_scripts(redis: RedisClient, calls: Sequence[ScriptCall]) -> list[Any]:
    """Their answers, in order. One round trip; a second one when the server does not know a script (any more).

    Each script runs by itself, so the calls' keys may lie in different hash slots. On a Redis Cluster, where these
    may lie on different servers, this would be one round trip per server. Raises RedisError.
    """
    answers = await _run(redis, calls)
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        for name in {calls[place].name for place in unknown}:
            await redis.script_load(script_source(_PACKAGE, name))
        again = await _run(redis, [calls[place] for place in unknown])
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _run(redis: RedisClient, calls: Sequence[ScriptCall]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.evalsha(_digest(call.name), len(call.keys), *call.keys, *call.args)
        return list(await pipe.execute(raise_on_error=False))


@cache
def _digest(name: str) -> str:
    """What EVALSHA calls the script by."""
    return hashlib.sha1(script_source(_PACKAGE, name).encode(), usedforsecurity=False).hexdigest()
