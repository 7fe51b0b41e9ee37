"""Redis connections and Lua scripts: one way to open the first, one way to load the second."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

RedisClient: TypeAlias = Redis


def connect(url: str) -> RedisClient:
    """A client with bounded waits. Repeats a call whose connection broke: every script is idempotent."""
    pool = BlockingConnectionPool.from_url(  # callers beyond the last connection wait for one
        url,
        max_connections=50,
        timeout=10,
        decode_responses=True,
        socket_connect_timeout=5,
        socket_timeout=10,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)


@cache
def script_source(package: str, name: str) -> str:
    """Text of `name`.lua shipped inside `package`, after the package's shared `_writes.lua` where it is used."""
    folder = files(package)
    text = folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")
    if "_writes.lua" in text:
        return folder.joinpath("_writes.lua").read_text(encoding="utf-8") + text
    return text


@cache
def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # what EVALSHA calls a script by


class Script(NamedTuple):
    """A Lua script on a client. Called by its hash; loaded when the server does not know it (again)."""

    client: RedisClient
    text: str

    async def __call__(self, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
        """The script's answer."""
        sha = _sha(self.text)
        try:
            return await self.client.evalsha(sha, len(keys), *keys, *args)
        except NoScriptError:
            await self.client.script_load(self.text)
            return await self.client.evalsha(sha, len(keys), *keys, *args)


def script(client: RedisClient, package: str, name: str) -> Script:
    """The script `name`.lua of `package`."""
    return Script(client, script_source(package, name))
