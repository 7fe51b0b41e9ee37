"""History databases for the tests of this folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tasks.history.database import Database
from tests.support.history import file_database, new_database, postgres_server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A real PostgreSQL for the whole session."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """A new history database of each kind; the test runs once on each."""
    if request.param == "sqlite":
        return file_database(tmp_path)
    return await new_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def database(database_url: URL) -> AsyncIterator[Database]:
    """The same, opened."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()
