"""The history's tables on SQLite and on PostgreSQL: migrations, and batches that count once."""

import asyncio
import json
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Table, make_url, select, text

from tasks.base.clock import DAY_MS
from tasks.base.errors import StateError
from tasks.base.outbox import Record, RecordKind
from tasks.exchange.models import Side
from tasks.history import migrations, tables
from tasks.history.database import Database, HistoryUnavailable
from tasks.history.migrate import VERSION_TABLE, migrate, revisions
from tasks.history.retention import prune
from tasks.history.rows import batch_of
from tasks.history.store import StaleArchiver, claim, write
from tasks.ledger.models import Fill
from tasks.settings.model import HistorySettings
from tests.support.history import file_database

BTC = "BTC/USDT"


async def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """All rows of a table, by its key."""
    async with database.connection() as connection:
        found = await connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]


def fill(number: int, side: str = "buy", *, order: str = "", at_ms: int | None = None, profit: str = "0") -> Fill:
    """A fill of 0.1 at 100 with a fee of 0.01."""
    return Fill(
        trade_id=f"{number:06}",
        client_id=order or f"order{number}",
        symbol=BTC,
        cell_key="g.1",
        side=Side(side),
        price=Decimal("100.00000001"),
        qty=Decimal("0.1"),
        quote=Decimal("10.000000001"),
        fee=Decimal("0.00001"),
        fee_currency="BNB",
        fee_quote=Decimal("0.01"),
        maker=True,
        at_ms=number * 1000 if at_ms is None else at_ms,
        basis=Decimal(10),
        profit=Decimal(profit),
    )


def records(*fills: Fill) -> list[Record]:
    """Outbox records of fills."""
    return [Record(f"{one.at_ms}-{place}", "fill", one.model_dump_json()) for place, one in enumerate(fills)]


async def archive(database: Database, found: list[Record], fence: int = 1) -> None:
    """Write records as the archiver does."""
    async with database.begin() as connection:
        await claim(connection, "main", fence, 5)
        await write(connection, "main", batch_of(found))


def differences(connection: Connection) -> list[Any]:
    """What the migrations left different from the tables that the program knows."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, tables.METADATA))


async def test_migrations_make_the_tables_that_the_program_uses(database: Database) -> None:
    """Column for column, on both databases."""
    async with database.connection() as connection:
        assert await connection.run_sync(differences) == []


OPEN = "import asyncio, sys\nfrom sqlalchemy import make_url\nfrom tasks.history.database import Database\n"
OPEN += "async def go():\n db = Database(make_url(sys.argv[1]))\n await db.open()\n await db.close()\nasyncio.run(go())"


async def test_one_process_migrates_and_the_others_wait(database_url: URL) -> None:
    """Four processes open a new database at once; all succeed."""
    url = database_url.render_as_string(hide_password=False)
    start = asyncio.create_subprocess_exec
    started = [await start(sys.executable, "-c", OPEN, url, stderr=subprocess.PIPE) for _ in range(4)]
    for one in started:
        _, errors = await one.communicate()
        assert one.returncode == 0, errors.decode()
    database = Database(database_url)
    async with database.connection() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_a_newer_database_is_refused_and_not_changed(database: Database) -> None:
    """The message names both versions and what to do."""
    async with database.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StateError, match=r"has version 9999, .* knows up to \d+: start it with the newer version"):
        await database.open()
    async with database.connection() as connection:
        assert await connection.run_sync(differences) == []


def test_the_file_of_a_migration_carries_its_revision() -> None:
    """By which a start knows the newest without reading them."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert [one.revision for one in scripts.walk_revisions()] == revisions()[::-1]
    assert scripts.get_heads() == revisions()[-1:]


async def test_a_database_of_the_first_version_comes_up(database_url: URL) -> None:
    """With data in it: every row is still there under the newest."""
    first = Database(database_url)
    async with first.begin() as connection:
        await connection.run_sync(migrate, "0001")
    later = {"filled_basis", "earned"}
    columns = {column.name: "1" for column in tables.FILLS.columns if column.name not in later}
    columns |= {"symbol": "'A/B'", "maker": "true"}
    async with first.begin() as connection:
        names = ", ".join(columns)
        values = ", ".join(
            value if value != "1" or _is_number(tables.FILLS, name) else "'1'" for name, value in columns.items()
        )
        await connection.execute(text(f"INSERT INTO {tables.FILLS.name} ({names}) VALUES ({values})"))
    await first.open()
    (row,) = await rows(first, tables.FILLS)
    assert (row["symbol"], row["price"], row["at_ms"], row["maker"]) == ("A/B", 1, 1, True)
    assert row["filled_basis"] is None
    await archive(first, records(fill(1)))
    assert len(await rows(first, tables.FILLS)) == 2
    await first.close()


async def test_the_totals_of_all_symbols_begin_with_what_there_is(database_url: URL) -> None:
    """A database of before has totals of each symbol alone; what is archived later counts on top, to the last digit."""
    database = Database(database_url)
    async with database.begin() as connection:
        await connection.run_sync(migrate, "0003")
        for symbol, account, volume in (
            ("A/B", "main", "1.00000000000000000001"),
            ("C/D", "main", "2"),
            ("A/B", "x", 9),
        ):
            names = "account, symbol, side, day, fills, volume, fees, profit, rounds, wins, won, lost, held_ms"
            values = f"'{account}', '{symbol}', 'buy', 0, 3, '{volume}', '1', '0', 0, 0, '0', '0', 5"
            await connection.execute(text(f"INSERT INTO gridflow_days ({names}) VALUES ({values})"))
    await database.open()
    await archive(database, records(fill(1), fill(2, "sell", profit="1.5", at_ms=DAY_MS)))
    found = {(row["account"], row["side"], row["day"]): row for row in await rows(database, tables.ACCOUNT_DAYS)}
    assert {key: row["fills"] for key, row in found.items()} == {
        ("main", "buy", 0): 7,
        ("main", "sell", 1): 1,
        ("x", "buy", 0): 3,
    }
    assert found["main", "buy", 0]["volume"] == Decimal("13.00000000100000000001")
    assert found["main", "sell", 1]["profit"] == Decimal("1.5")
    await database.close()


def _is_number(table: Table, name: str) -> bool:
    return str(table.c[name].type) in ("BIGINT", "INTEGER", "BOOLEAN")


async def test_amounts_keep_every_digit(database: Database) -> None:
    """And read back as Decimal."""
    await archive(database, records(fill(1)))
    (row,) = await rows(database, tables.FILLS)
    assert row.pop("account") == "main"
    assert Fill.model_validate(row) == fill(1)


async def test_a_record_counts_once_however_often_it_comes(database: Database) -> None:
    """A round of two partial sells over two days: each batch comes twice, and half of one comes again in the next."""
    bought = [fill(1), fill(2)]
    sold = [
        fill(3, "sell", order="s", at_ms=DAY_MS - 1, profit="1.5"),
        fill(4, "sell", order="s", at_ms=DAY_MS + 1, profit="-2.5"),
    ]
    for found in (records(*bought), records(*bought), records(bought[1], sold[0]), records(*sold), records(*sold)):
        await archive(database, found)
    assert [row["trade_id"] for row in await rows(database, tables.FILLS)] == ["000001", "000002", "000003", "000004"]
    (one,) = await rows(database, tables.ROUNDS)
    assert (one["qty"], one["profit"], one["closed_ms"]) == (Decimal("0.2"), -1, DAY_MS + 1)
    assert one["held_ms"] == DAY_MS - 1500
    days = {(row["side"], row["day"]): row for row in await rows(database, tables.DAYS)}
    assert {key: row["fills"] for key, row in days.items()} == {("buy", 0): 2, ("sell", 0): 1, ("sell", 1): 1}
    assert [days["sell", day]["rounds"] for day in (0, 1)] == [0, 1], "counted on the day of the newest sell"
    assert (days["sell", 1]["lost"], days["sell", 0]["won"]) == (1, 0)
    assert days["sell", 0]["profit"] + days["sell", 1]["profit"] == -1
    assert days["buy", 0]["volume"] == Decimal("20.000000002")


async def test_an_older_archiver_writes_nothing(database: Database) -> None:
    """Its transaction is refused as a whole."""
    await archive(database, records(fill(1)), fence=7)
    with pytest.raises(StaleArchiver):
        await archive(database, records(fill(2)), fence=6)
    await archive(database, records(fill(3)), fence=7)
    assert [row["trade_id"] for row in await rows(database, tables.FILLS)] == ["000001", "000003"]


def equity(at_ms: int, amount: str) -> Record:
    """A point of the account and of one symbol."""
    symbols = {BTC: {"worth": amount, "grid_profit": "1", "price": "100"}}
    body = {"at_ms": at_ms, "equity": amount, "grid_profit": "1", "capital": "1000", "symbols": symbols}
    return Record(f"{at_ms}-0", "equity", json.dumps(body))


async def test_equity_has_a_point_a_minute_and_the_extremes_of_each_hour(database: Database) -> None:
    """The first point of a minute counts; batches may come twice and out of order."""
    minute, hour = 60_000, 3_600_000
    first = [equity(minute, "1000"), equity(minute + 5000, "1"), equity(2 * minute, "990")]
    for found in (first, first, [equity(hour, "1500")], [equity(3 * minute, "1010"), equity(2 * minute, "990")]):
        await archive(database, found)
    points = [(row["symbol"], row["at_ms"] // minute, row["worth"]) for row in await rows(database, tables.EQUITY)]
    own = [(1, 1000), (2, 990), (3, 1010), (60, 1500)]
    assert points == [(symbol, *point) for symbol in ("", BTC) for point in own]
    hours = await rows(database, tables.EQUITY_HOURS)
    bounds = [[int(row[name]) for name in ("first", "lowest", "highest", "last")] for row in hours]
    assert bounds == [[1000, 990, 1010, 1010], [1500] * 4] * 2


async def test_of_orders_and_flags_the_newest_state_counts(database: Database) -> None:
    """An old state that comes late changes nothing; every change of an order is kept."""
    intent = {
        "client_id": "o1",
        "symbol": BTC,
        "cell_key": "g.1",
        "side": "buy",
        "price": "100",
        "qty": "1",
        "cycle": 0,
        "units": 5,
        "post_only": True,
        "created_ms": 1,
        "units_left": 5,
    }
    new = Record("20-0", "order", json.dumps(intent | {"state": "FILLED", "ended_ms": 20, "filled": "1"}))
    old = Record("10-1", "order", json.dumps(intent))
    await archive(database, [new, Record("10-2", "flag", "stopped|0|")])
    await archive(database, [old, new, Record("10-1", "flag", "stopped|1|"), Record("9-0", "flag", f"paused|1|{BTC}")])
    (order,) = await rows(database, tables.ORDERS)
    assert (order["state"], order["filled"], order["ended_ms"]) == ("FILLED", 1, 20)
    assert [row["state"] for row in await rows(database, tables.ORDER_CHANGES)] == ["INTENT", "FILLED"]
    flags = {(row["scope"], row["flag"]): row["value"] for row in await rows(database, tables.FLAGS)}
    assert flags == {("", "stopped"): 0, (BTC, "paused"): 1}


async def test_settings_are_kept_as_differences_and_grids_end_with_the_next(database: Database) -> None:
    """The difference names the field and both values."""
    grid = {"grid_id": "aaaaa", "symbol": BTC, "levels": ["1", "2"], "first_price": "1.5", "created_ms": 100}
    second = grid | {"grid_id": "bbbbb", "created_ms": 300}
    await archive(
        database,
        [
            Record("1-0", "settings", '1|{"total_funds": "10", "symbols": {"A/B": {"cells": 5}}}'),
            Record("2-0", "settings", '2|{"total_funds": "20", "symbols": {"A/B": {"cells": 6}}}'),
            Record("3-0", "grid", json.dumps(grid)),
            Record("4-0", "grid", json.dumps(second)),
        ],
    )
    changes = [json.loads(row["changes"]) for row in await rows(database, tables.SETTINGS)]
    assert changes[1] == {"total_funds": ["10", "20"], 'symbols."A/B".cells': [5, 6]}
    assert [row["until_ms"] for row in await rows(database, tables.GRIDS)] == [300, None]


async def test_each_of_several_grids_ends_with_the_next_of_its_name(database: Database) -> None:
    """And where the symbol has none of its name any more. Reading the records again changes nothing."""

    def grid(grid_id: str, name: str, created_ms: int, *others: dict[str, Any]) -> dict[str, Any]:
        own = {"grid_id": grid_id, "symbol": BTC, "levels": ["1", "2"], "first_price": "1.5", "created_ms": created_ms}
        return own | {"name": name, "others": others}

    wide = grid("bbbbb", "wide", 100)
    moved = grid("aaaaa", "near", 300, wide)
    records = [
        Record("100-0", "grid", json.dumps(grid("aaaaa", "near", 100, wide))),
        Record("300-0", "grid", json.dumps(moved)),
        Record("500-0", "grid", json.dumps(grid("aaaaa", "near", 300))),
        Record("700-0", "grid", json.dumps(grid("ccccc", "", 700))),
    ]
    wanted = [("", 700, None), ("near", 100, 300), ("near", 300, 700), ("wide", 100, 500)]
    for batch in ([records[0]], records[1:3], [records[3]], records):
        await archive(database, batch)
    found = [(row["name"], row["from_ms"], row["until_ms"]) for row in await rows(database, tables.GRIDS)]
    assert sorted(found, key=str) == wanted


async def test_old_rows_go_and_trades_stay(database: Database) -> None:
    """By default: events of 90 days, a symbol's minutes of 30, its hours and all trades for ever. All from midnight."""
    now_ms = 1000 * DAY_MS + 5
    fills = [fill(number, at_ms=number * DAY_MS) for number in (1, 899, 999)]
    events = [Record(f"{day * DAY_MS + 7}-0", "event", "funds_short|{}") for day in (909, 910, 999)]
    points = [equity(day * DAY_MS + 60_000, "1000") for day in (1, 969, 970)]
    await archive(database, [*records(*fills), *events, *points])
    assert await prune(database, "main", HistorySettings(), now_ms) == {"events": 1, "equity": 2}
    assert await prune(database, "other", HistorySettings(events_days=1), now_ms) == {}
    assert [row["at_ms"] // DAY_MS for row in await rows(database, tables.EVENTS)] == [910, 999]
    kept = [(row["symbol"], row["at_ms"] // DAY_MS) for row in await rows(database, tables.EQUITY)]
    assert kept == [("", 1), ("", 969), ("", 970), (BTC, 970)]
    assert len(await rows(database, tables.EQUITY_HOURS)) == 6
    assert len(await rows(database, tables.FILLS)) == 3
    shorter = HistorySettings(trades_days=101, events_days=0)
    assert await prune(database, "main", shorter, now_ms) == {"fills": 1}
    for totals in (tables.DAYS, tables.ACCOUNT_DAYS):
        assert [row["day"] for row in await rows(database, totals)] == [899, 999], "pages are counted from them"


async def test_what_cannot_be_read_is_kept_and_holds_nothing_up(database: Database) -> None:
    """A later version may read it."""
    await archive(database, [Record("1-0", "fill", "{}"), Record("2-0", "of 2030", "x"), *records(fill(1))])
    assert [row["kind"] for row in await rows(database, tables.UNREADABLE)] == ["fill", "of 2030"]
    assert len(await rows(database, tables.FILLS)) == 1


def test_every_kind_of_record_has_a_reader() -> None:
    """An empty body is unreadable in its own way, never an unknown kind."""
    batch = batch_of([Record("1-0", kind.value, "") for kind in RecordKind])
    errors = [row["error"] for row in batch.added["unreadable"]]
    assert not any("RecordKind" in error for error in errors)


@pytest.mark.parametrize("url", ["postgresql+asyncpg://u:secret@127.0.0.1:9/x", "sqlite+aiosqlite:////proc/no/h.db"])
async def test_a_database_that_cannot_be_reached_is_unavailable(url: str) -> None:
    """In one sentence, without the password."""
    database = Database(make_url(url))
    with pytest.raises(HistoryUnavailable, match="the history database") as caught:
        await database.open()
    assert "secret" not in str(caught.value)
    await database.close()


async def test_a_closed_database_leaves_no_thread_of_a_cancelled_statement(tmp_path: Path) -> None:
    """The thread would answer to an event loop that may be closed by then. Cancelled at every wait of a query."""
    database = Database(file_database(tmp_path))
    await database.open()
    before = set(threading.enumerate())

    async def ask() -> None:
        async with database.connection() as connection:
            await connection.execute(text("SELECT 1"))

    for waits in range(12):
        asking = asyncio.create_task(ask())
        for _ in range(waits):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    await database.close()
    left = {one for one in threading.enumerate() if "_connection_worker_thread" in one.name} - before
    assert not [one for one in left if one.is_alive()]
