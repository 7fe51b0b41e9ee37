"""The dashboard's way to Redis: plain calls from any thread, answered on one event loop with one client."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from flows.runtime.stack import record as state
from tasks.base.errors import GridflowError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.environment import configured_prefect_api, state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")
_WAIT_SECONDS = 4.0


class NoData(GridflowError):
    """Redis has no answer for the screens now; the message says why and what to do."""


class Reader:
    """Reads the views. Calls may come from any thread; they wait at most a few seconds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.account)
        self._client: RedisClient | None = None
        self._url: str | None = None
        self._down = False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="dashboard-redis", daemon=True).start()

    def read(self, question: Callable[[RedisClient], Awaitable[T]]) -> T:
        """The answer of `question`. Raises NoData when Redis does not give one."""
        return asyncio.run_coroutine_threadsafe(self._ask(question), self._loop).result()

    async def _ask(self, question: Callable[[RedisClient], Awaitable[T]]) -> T:
        url = redis_url(self.settings)
        where = place_of(url)
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                answer = await question(await self._open(url))
        except (RedisError, OSError) as error:
            self._say_down(where, error)
            raise NoData(f"Redis at {where} does not answer ({type(error).__name__})") from None
        except (ValueError, LookupError) as error:
            log.exception("records in Redis cannot be read")
            raise NoData(
                f"Redis at {where} holds records this version cannot read ({type(error).__name__}). "
                "Run the worker and the dashboard from the same version"
            ) from None
        self._down = False
        return answer

    async def _open(self, url: str) -> RedisClient:
        """The client for `url`; a new one when the stack came back on another port."""
        if self._client is None or url != self._url:
            if self._client is not None:
                await self._client.aclose()
            self._client, self._url = connect(url), url
        return self._client

    def _say_down(self, where: str, error: Exception) -> None:
        if not self._down:
            log.warning("redis does not answer", extra={"redis": where, "error": type(error).__name__})
        self._down = True


def redis_url(settings: Settings) -> str:
    """The configured Redis, else that of the one-machine stack. Raises NoData when there is neither."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    record = state.read(state_dir())
    if record is None:
        raise NoData("No Redis is configured. Start `gridflow up`, or set GRIDFLOW_REDIS_URL")
    return record.redis


def place_of(url: str) -> str:
    """Host and port of a URL; never its user or password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or 'localhost'}:{port or 6379}"


def prefect_api() -> str | None:
    """URL of the Prefect API: the configured one, else that of the one-machine stack."""
    configured = configured_prefect_api()
    if configured is not None:
        return configured
    record = state.read(state_dir())
    return record.prefect_api if record is not None else None


_lock = threading.Lock()
_readers: list[Reader] = []


def reader() -> Reader:
    """The process's one reader, made on first use. Raises ConfigError for settings that cannot run."""
    with _lock:
        if not _readers:
            _readers.append(Reader(load()))
        return _readers[0]
