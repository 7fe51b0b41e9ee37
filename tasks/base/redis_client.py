"""Redis connections and Lua scripts: one way to open the first, one way to load the second."""

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = logging.getLogger(__name__)
T = TypeVar("T")
RedisClient: TypeAlias = Redis
_SOCKET_SECONDS = 5.0
_IMPATIENT_SECONDS = 2.0
_TELL_SECONDS = 5.0
_SHARED_IN, _SHARED_PARTS = "tasks.funds", ("_writes.lua", "_holds.lua")  # Lua that several scripts begin with


class _TellingRetry(Retry):
    """Repeats a call and says so: a Redis that hangs must show in the log long before the last try has failed."""

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """What `do` returns; failed tries are logged, at most one in `_TELL_SECONDS`."""

        async def told(error: Exception, *count: int) -> Any:
            _tell(error)
            return await fail(error, *count)

        return await super().call_with_retry(do, told, is_retryable, with_failure_count)


_told_at = [float("-inf")]


def _tell(error: Exception) -> None:
    now = time.monotonic()
    if now - _told_at[0] >= _TELL_SECONDS:
        _told_at[0] = now
        log.warning("Redis does not answer; trying again", extra={"error": str(error) or type(error).__name__})


def connect(url: str, *, impatient: bool = False) -> RedisClient:
    """A client with bounded waits. Repeats a call whose connection broke: every script is idempotent.

    `impatient`: for commands, which had rather say within seconds that Redis does not answer.
    """
    seconds = _IMPATIENT_SECONDS if impatient else _SOCKET_SECONDS
    backoff = ExponentialWithJitterBackoff(cap=1, base=0.05)
    pool = BlockingConnectionPool.from_url(  # callers beyond the last connection wait for one
        url,
        max_connections=50,
        timeout=2 * seconds,
        decode_responses=True,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        health_check_interval=30,
        retry=Retry(backoff, 0) if impatient else _TellingRetry(backoff, 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)


@cache
def script_source(package: str, name: str) -> str:
    """Text of `name`.lua shipped inside `package`, after the shared parts that it names."""
    text = files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    parts = [part for part in _SHARED_PARTS if part in text]
    return "".join([*(files(_SHARED_IN).joinpath(part).read_text(encoding="utf-8") for part in parts), text])


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
