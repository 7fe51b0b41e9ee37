"""Several Lua scripts of the rate budget in one round trip."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from tasks.base.redis_client import RedisClient, registered, script_source

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
        again = await _run(redis, [calls[place] for place in unknown], known=False)
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _run(redis: RedisClient, calls: Sequence[ScriptCall], *, known: bool = True) -> list[Any]:
    """`known`: the server knows the scripts; else their text is sent."""
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            script = registered(script_source(_PACKAGE, call.name))
            run, by = (pipe.evalsha, script.sha) if known else (pipe.eval, script.text)
            run(by, len(call.keys), *call.keys, *call.args)
        return list(await pipe.execute(raise_on_error=False))
