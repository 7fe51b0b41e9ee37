"""How the archiver finds the totals that new fills change: by key, whatever the history's size."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, event

from tasks.history import tables
from tasks.history.database import Database
from tasks.history.rows import Row
from tasks.history.store import _found, put
from tests.support.history import file_database

TOTALS = [
    (tables.ROUNDS, ("symbol", "sell_id")),
    (tables.LOTS, ("symbol", "cell_key")),
    (tables.DAYS, ("symbol", "day")),
    (tables.ACCOUNT_DAYS, ("side", "day")),
    (tables.EQUITY, ("symbol", "at_ms")),
    (tables.EQUITY_HOURS, ("symbol", "hour_ms")),
]


@pytest.mark.parametrize(("table", "key"), TOTALS, ids=[table.name for table, _ in TOTALS])
async def test_sqlite_looks_up_each_row_by_its_key(tmp_path: Path, table: Table, key: tuple[str, str]) -> None:
    """Not by the account alone: that would read the whole table for each batch of fills."""
    database = Database(file_database(tmp_path))
    await database.open()
    asked: list[tuple[str, Any]] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, *_: asked.append((statement, parameters)),
    )
    async with database.connection() as connection:
        second: Any = 1 if key[1] in ("day", "at_ms", "hour_ms") else "1"
        await _found(connection, "main", table, key, [("a", second), ("b", second)], key)
        statement, parameters = asked[-1]
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        searched = [detail for *_, detail in plan if table.name in detail]
    await database.close()
    assert searched
    assert all(f"account=? AND {key[0]}=?" in step for step in searched)


async def test_what_is_found_on_either_database(database: Database) -> None:
    """Rows of the account whose pair is wanted; none for another account, nor for half of a pair."""

    def row(account: str, symbol: str, cell: str) -> Row:
        return {"account": account, "symbol": symbol, "cell_key": cell, "lots": f'["{account}{symbol}{cell}"]'}

    rows = [row("main", "A/B", "x.1"), row("main", "A/B", "x.2"), row("main", "C/B", "x.2"), row("other", "C/B", "x.1")]
    async with database.begin() as connection:
        await put(connection, tables.LOTS, rows)
        wanted = [("A/B", "x.2"), ("C/B", "x.1"), ("C/B", "x.2"), ("it's", '"')]
        found = await _found(connection, "main", tables.LOTS, ("symbol", "cell_key"), wanted, ("symbol", "cell_key"))
        assert sorted(found) == [("A/B", "x.2"), ("C/B", "x.2")]
        assert await _found(connection, "main", tables.LOTS, ("symbol", "cell_key"), [], ("lots",)) == []
