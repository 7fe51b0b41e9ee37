"""The dashboard's connections: calls from any thread run on one event loop, with one client of Redis and one of the
history database.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from tasks.base.clock import to_ms, utc_now
from tasks.base.errors import GridflowError, StackError, StateError
from tasks.base.keys import Keys
from tasks.base.own_loop import OwnLoop
from tasks.base.redis_client import RedisClient, connect
from tasks.control.prefect_runs import PrefectRuns
from tasks.history.database import Database, HistoryUnavailable, history_url
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.running import prefect_api, redis_url
from tasks.settings.secret_values import worker_only

log = logging.getLogger(__name__)
T = TypeVar("T")
WAIT_SECONDS = 4.0
_THREAD = "dashboard-redis"
_BUSY_SECONDS = 2.0  # that a read waits for a locked file
_SLOW_SECONDS, _LEFT_ALONE_SECONDS = 0.5, 3.0
_PREFECT_SECONDS = 5.0


class NoData(GridflowError):
    """Redis cannot be read now; the message says why and what to do."""


class NoHistory(GridflowError):
    """The history cannot be read now; the message says why."""


class Outage:
    """Since when a part does not answer, and why. After a slow failure it is left alone for some seconds: screens that
    ask in turn would each wait for it.
    """

    def __init__(self) -> None:
        self.since_ms: int | None = None  # ms since the epoch; None: it answers
        self.why = ""
        self._left_alone_until = float("-inf")

    def begin(self, why: str, took_seconds: float) -> bool:
        """It did not answer. Whether that is new."""
        is_new, self.why = self.since_ms is None, why
        self.since_ms = self.since_ms or to_ms(utc_now())
        if took_seconds > _SLOW_SECONDS:
            self._left_alone_until = time.monotonic() + _LEFT_ALONE_SECONDS
        return is_new

    def end(self) -> None:
        """It answers."""
        self.since_ms, self.why = None, ""

    @property
    def is_left_alone(self) -> bool:
        """Whether to answer with the last failure instead of asking again."""
        return time.monotonic() < self._left_alone_until


class Reader:
    """Reads the views. May be called from any thread; a call waits at most a few seconds."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.account)
        self.redis_outage, self.history_outage = Outage(), Outage()
        self._client: RedisClient | None = None
        self._url: str | None = None
        self._database: Database | None = None
        self._loop = OwnLoop(_THREAD)

    def read(self, query: Callable[[RedisClient], Awaitable[T]]) -> T:
        """The result of `query`. Raises NoData when Redis does not answer or holds records that cannot be read."""
        return self._wait(self._run(query))

    def history(self, query: Callable[[Database], Awaitable[T]]) -> T:
        """The result of `query` to the history. Raises NoHistory where it does not answer, or there is none yet."""
        return self._wait(self._ask_history(query))

    def past(self, query: Callable[[Database], Awaitable[T]], nothing: T) -> T:
        """The result of `query` to the history; `nothing` where no worker has made a history yet. Raises NoHistory."""
        try:
            return self.history(query)
        except NoHistory:
            if self._database is not None or Database(history_url(self.settings, state_dir())).exists():
                raise
            self.history_outage.end()  # there is nothing that could answer
            return nothing

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work on the loop. Raises RuntimeError on the loop itself, which would wait for ever."""
        if threading.current_thread().name == _THREAD:
            work.close()
            raise RuntimeError("a query asked the reader again: it would wait for itself")
        return self._loop.submit(work).result()

    def close(self) -> None:
        """Close the connections and end the loop."""
        self._loop.submit(self._close()).result()
        self._loop.close()

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
        if self._database is not None:
            await self._database.close()

    async def _ask_history(self, query: Callable[[Database], Awaitable[T]]) -> T:
        outage, began = self.history_outage, time.monotonic()
        if outage.is_left_alone:
            raise NoHistory(outage.why)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                found = await query(await self._open_history())
        except TimeoutError:
            why = f"the history does not answer within {WAIT_SECONDS:.0f} s"
        except (HistoryUnavailable, StateError) as error:
            why = str(error)
        else:
            outage.end()
            return found
        outage.begin(why, time.monotonic() - began)
        raise NoHistory(why)

    async def _open_history(self) -> Database:
        if self._database is None:
            database = Database(history_url(self.settings, state_dir()), _BUSY_SECONDS)
            if not database.exists():
                raise HistoryUnavailable("there is no history yet: a worker writes it")
            await database.open()
            self._database = database
        return self._database

    async def _run(self, query: Callable[[RedisClient], Awaitable[T]]) -> T:
        url, outage, began = current_redis_url(self.settings), self.redis_outage, time.monotonic()
        where = host_and_port(url)
        if outage.is_left_alone and url == self._url:
            raise NoData(outage.why)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                result = await query(await self._open(url))
        except (RedisError, OSError) as error:
            why = f"Redis at {where} does not answer ({type(error).__name__})"
            if outage.begin(why, time.monotonic() - began):
                log.warning("redis does not answer", extra={"redis": where, "error": type(error).__name__})
            raise NoData(why) from None
        except (ValueError, LookupError) as error:
            log.exception("records in Redis cannot be read")
            raise NoData(
                f"Redis at {where} holds records this version cannot read ({type(error).__name__}). "
                "Run the worker and the dashboard from the same version"
            ) from None
        outage.end()
        return result

    async def _open(self, url: str) -> RedisClient:
        """The client for `url`; a new one when the stack came back on another port."""
        if self._client is None or url != self._url:
            if self._client is not None:
                await self._client.aclose()
            self._client, self._url = connect(url), url
        return self._client


def current_redis_url(settings: Settings) -> str:
    """The URL of the account's Redis now. Raises NoData where no Redis is known."""
    try:
        return redis_url(settings)
    except StackError as error:
        raise NoData(str(error)) from None


def host_and_port(url: str) -> str:
    """Host and port of a URL; never its user or password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or 'localhost'}:{port or 6379}"


def prefect() -> PrefectRuns:
    """The runs of the account's Prefect server. Raises StackError where no server is known."""
    return PrefectRuns(prefect_api(), _PREFECT_SECONDS)


def prefect_pages() -> str | None:
    """URL of the Prefect UI; None where no server is known."""
    try:
        return prefect_api().rstrip("/").removesuffix("/api")
    except StackError:
        return None


_lock = threading.Lock()
_readers: list[Reader] = []


def reader() -> Reader:
    """The process's reader, created on first use. Raises ConfigError for invalid settings."""
    with _lock:
        if not _readers:
            _readers.append(Reader(load(without_fields=worker_only())))
        return _readers[0]
