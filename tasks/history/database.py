"""Opening the history database: SQLite in a file, or PostgreSQL."""

import asyncio
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from weakref import WeakSet

import aiosqlite
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tasks.base.errors import GridflowError
from tasks.history.migrate import is_current, migrate
from tasks.settings.model import Settings

FILE_NAME = "history.db"
BUSY_SECONDS = 10
_CONNECT_SECONDS = 5


class HistoryUnavailable(GridflowError):
    """The history database does not answer, or cannot write. Trading goes on; records wait in Redis."""


def history_url(settings: Settings, state: Path) -> URL:
    """The configured database, else the file in the state folder."""
    if settings.database_url is not None:
        return make_url(settings.database_url.get_secret_value())
    return URL.create("sqlite+aiosqlite", database=str(state / FILE_NAME))


class Database:
    """A history database. Opening it makes its tables, or upgrades them."""

    def __init__(self, url: URL, busy_seconds: float = BUSY_SECONDS) -> None:
        """`busy_seconds`: how long a write to a file waits for another process's transaction."""
        self.url = url
        self._busy_seconds = busy_seconds
        self._threads: WeakSet[Thread] = WeakSet()  # of connections to a file; each has one
        self.engine = _engine(url, busy_seconds, self._threads)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this host."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def place(self) -> str:
        """Where it is, without user and password."""
        if self.is_file:
            return str(self.url.database)
        return f"{self.url.host or self.url.query.get('host', 'localhost')}/{self.url.database}"

    @property
    def identity(self) -> str:
        """What tells it from others: host and path of a file, or `server` for PostgreSQL."""
        return f"{socket.gethostname()}:{self.place}" if self.is_file else "server"

    def exists(self) -> bool:
        """Whether there may be a history: the file exists, or it is a server's."""
        return not self.is_file or Path(str(self.url.database)).exists()

    async def open(self) -> None:
        """Make the tables or upgrade them. Another process that does so is waited for.

        Raises HistoryUnavailable where the database does not answer, StateError where it is of a newer version.
        """
        if self.is_file:
            _create_file(Path(str(self.url.database)))
        async with self.connection() as connection:
            if await connection.run_sync(is_current):
                return
        async with self.begin() as connection:
            await connection.run_sync(migrate)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Raises HistoryUnavailable."""
        with _translated(self.place):
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end. Raises HistoryUnavailable."""
        with _translated(self.place):
            async with self.engine.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Close all connections, and wait for their threads: a cancelled statement runs on until the file is free.

        A thread that is left would answer to an event loop that may be closed by then.
        """
        await self.engine.dispose()
        for thread in [one for one in self._threads if one.is_alive()]:
            await asyncio.to_thread(thread.join, self._busy_seconds)


class _translated:  # noqa: N801 - used like a function
    """Turns errors of the database into HistoryUnavailable. Errors of the program stay what they are."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OperationalError | InterfaceError | OSError | TimeoutError) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        ):
            cause = getattr(error, "orig", None) or error
            raise HistoryUnavailable(f"the history database {self._place}: {cause or type(cause).__name__}") from error


def _create_file(path: Path) -> None:
    """Only its owner may read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise HistoryUnavailable(f"the history database {path} cannot be opened: {error.strerror}") from error


def _engine(url: URL, busy_seconds: float, threads: WeakSet[Thread]) -> AsyncEngine:
    """`threads`: gets the thread of every connection to a file."""
    if url.get_backend_name() != "sqlite":
        options: dict[str, Any] = {"timeout": _CONNECT_SECONDS, "command_timeout": 60}
        return create_async_engine(url, pool_size=2, max_overflow=3, pool_pre_ping=True, connect_args=options)

    def connect(*args: Any, **options: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*args, **options)
        thread: Any = getattr(connection, "_thread", connection)  # before version 0.22 a connection was its thread
        thread.daemon = True
        threads.add(thread)
        return connection

    arguments = {"timeout": busy_seconds, "async_creator_fn": connect}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    """Readers never wait for the writer, and a committed batch survives a loss of power."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA cache_size=-64000")  # KiB; with a million fills a smaller one reads each page again
    except sqlite3.Error:
        cursor.close()
        raise
    cursor.close()
