"""History databases for tests: SQLite in a file, and a real PostgreSQL."""

import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from flows.runtime.stack import postgres
from tests.support.servers import wait_for_server


@contextmanager
def postgres_server(folder: Path, *, keep: bool = False) -> Iterator[URL]:
    """A PostgreSQL server with its data below `folder`; yields the URL of its first database. `keep`: its data."""
    folder.mkdir(exist_ok=True)
    server = postgres.prepare(folder)
    group = pwd.getpwnam(server.user).pw_gid if server.user else None
    groups: list[int] | None = [] if server.user else None
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            server.command, stdout=log, stderr=log, cwd=server.data, user=server.user, group=group, extra_groups=groups
        )
    try:
        wait_for_server(lambda: _ready(server), process)
        yield make_url(server.async_url)
    finally:
        process.send_signal(signal.SIGINT)  # without waiting for clients
        process.wait(60)
        server.tidy()
        if not keep:
            postgres.remove(folder)


def _ready(server: postgres.Postgres) -> None:
    if not server.is_ready():
        raise ConnectionRefusedError


async def new_database(server: URL) -> URL:
    """A new, empty database of the server."""
    name = f"test_{uuid4().hex}"
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    await engine.dispose()
    return server.set(database=name)


def file_database(folder: Path) -> URL:
    """A database in a file that does not exist yet."""
    return URL.create("sqlite+aiosqlite", database=str(folder / f"{uuid4().hex}.db"))
