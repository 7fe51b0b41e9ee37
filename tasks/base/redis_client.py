"""Opening Redis connections and calling Lua scripts."""

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = logging.getLogger(__name__)
T = TypeVar("T")
RedisClient: TypeAlias = Redis
Script: TypeAlias = Callable[..., Awaitable[Any]]  # a Lua script on a client; called with `keys` and `args`
_SOCKET_SECONDS = 5.0
_IMPATIENT_SECONDS = 2.0
_LOG_SECONDS = 5.0
# Lua that several scripts begin with.
_SHARED_IN, _SHARED_PARTS = "tasks.funds", ("_writes.lua", "_holds.lua", "_server.lua", "_outbox.lua", "_leader.lua")


class _LoggingRetry(Retry):
    """Logs retries, at most one in a few seconds: a hanging Redis shows in the log before the last try fails."""

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """The result of `do`; a failed try is logged."""

        async def logged(error: Exception, *count: int) -> Any:
            _log_failure(error)
            return await fail(error, *count)

        return await super().call_with_retry(do, logged, is_retryable, with_failure_count)


class _HiredisPacking:
    """Packs commands in C, which redis-py does for its synchronous client only. It saves 8 % of an idle tick's CPU."""

    _serializer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as bytes of the Redis protocol."""
        packed: list[bytes] = self._serializer.pack(*args)
        return packed


_CONNECTIONS: dict[type, type] = {
    kind: type(kind.__name__, (_HiredisPacking, kind), {})
    for kind in (Connection, SSLConnection, UnixDomainSocketConnection)
}
_logged_at = [float("-inf")]


def _log_failure(error: Exception) -> None:
    now = time.monotonic()
    if now - _logged_at[0] >= _LOG_SECONDS:
        _logged_at[0] = now
        log.warning("Redis does not answer; trying again", extra={"error": str(error) or type(error).__name__})


def connect(url: str, *, impatient: bool = False) -> RedisClient:
    """A client with bounded waits. A call whose connection broke is repeated: every script is idempotent.

    `impatient`: for commands, which report within seconds that Redis does not answer.
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
        retry=Retry(backoff, 0) if impatient else _LoggingRetry(backoff, 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    pool.connection_class = _CONNECTIONS[pool.connection_class]
    return Redis.from_pool(pool)


@cache
def script_source(package: str, name: str) -> str:
    """Text of `name`.lua in `package`, with the shared parts that it names in front."""
    text = files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    parts = [part for part in _SHARED_PARTS if part in text]
    return "".join([*(files(_SHARED_IN).joinpath(part).read_text(encoding="utf-8") for part in parts), text])


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script that belongs to no client: each call names one. `sha`: what EVALSHA calls it by."""

    text: str
    sha: str

    async def __call__(self, keys: Sequence[str], args: Sequence[Any], client: RedisClient) -> Any:
        """One EVALSHA. Where the server does not know the script, the text itself: a second EVALSHA after a
        SCRIPT LOAD would fail again where the server restarts between the two.
        """
        try:
            return await client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self.text, len(keys), *keys, *args)


@cache
def registered(text: str) -> LuaScript:
    """The script with this text, hashed once."""
    return LuaScript(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def script(client: RedisClient, package: str, name: str) -> Script:
    """The script `name`.lua of `package`, ready to be called with `keys` and `args`.

    A call is one round trip; one more where the server does not know the script (again).
    """
    return partial(registered(script_source(package, name)), client=client)


def hash_of(flat: Sequence[str]) -> dict[str, str]:
    """A hash that a script returned, sorted by field. Its order in Redis differs between servers."""
    return dict(sorted(zip(flat[::2], flat[1::2], strict=True)))
