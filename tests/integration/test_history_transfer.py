"""Export and import of the history, and trades for tax tools; with no stack running."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import URL, select

from flows.runtime.cli import cli
from tasks.base.errors import GridflowError
from tasks.base.outbox import Record
from tasks.exchange.models import Side
from tasks.history import tables
from tasks.history.database import Database
from tasks.history.rows import HOUR_MS, batch_of
from tasks.history.store import claim, write
from tasks.history.tax_rows import TaxFormat, columns, tax_row
from tasks.history.transfer import export_history, import_history
from tasks.settings.environment import state_dir
from tests.support.history import file_database
from tests.support.many_fills import many_fills

START = int(datetime(2025, 12, 28, tzinfo=UTC).timestamp() * 1000)
SPAN = 8 * 24 * HOUR_MS
FILLS = list(many_fills(200, ["AA/USDT", "BB/USDT"], START, SPAN))


async def fill_up(database: Database, account: str = "main") -> None:
    """Fills, points, an order with and without an exchange id, a flag, settings and an event."""
    order = {"client_id": "o1", "symbol": "AA/USDT", "cell_key": "g.1", "side": "buy", "price": "1", "qty": "1"}
    order |= {"cycle": 0, "units": 0, "post_only": True, "created_ms": 1, "units_left": 0}  # type: ignore[dict-item]
    point = {
        "equity": "1000.5",
        "grid_profit": "1",
        "capital": "1000",
        "symbols": {"AA/USDT": {"worth": "1", "price": "7"}},
    }
    records = [Record(f"{fill.at_ms}-0", "fill", fill.model_dump_json()) for fill in FILLS]
    records += [
        Record(f"{at_ms}-1", "equity", json.dumps(point | {"at_ms": at_ms}))
        for at_ms in range(START, START + SPAN, HOUR_MS // 2)
    ]
    records += [
        Record("1-0", "order", json.dumps(order)),
        Record("2-0", "order", json.dumps(order | {"client_id": "o2", "exchange_id": "7", "note": 'a "note", with ä'})),
        Record("3-0", "flag", "stopped|1|"),
        Record("4-0", "settings", '1|{"total_funds": "10"}'),
        Record("7-0", "capital", "one|7|invest|50000000000|cli"),
        Record("5-0", "event", 'funds_short|{"short_units":5}'),
        Record("6-0", "of 2030", "later"),
    ]
    async with database.begin() as connection:
        await claim(connection, account, 1, 1)
        await write(connection, account, batch_of(records))


async def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but the archiver's own."""
    found = {}
    async with database.connection() as connection:
        for name, table in tables.METADATA.tables.items():
            rows = await connection.execute(select(table).order_by(*table.primary_key))
            found[name] = [dict(row) for row in rows.mappings()]
    del found[tables.ARCHIVES.name]
    return found


@pytest.mark.parametrize("kind", ["parquet", "csv"])
async def test_an_import_gives_back_every_row(database: Database, tmp_path: Path, kind: Any) -> None:
    """Into a new database, twice: the second time changes nothing. Totals are equal too."""
    await fill_up(database)
    counts = await export_history(database, "main", tmp_path / "out", kind)
    assert counts["fills"] == 200
    other = Database(file_database(tmp_path))
    await other.open()
    for _ in range(2):
        await import_history(other, "main", tmp_path / "out")
        assert await content(other) == await content(database)
    await other.close()


async def test_an_export_without_the_newest_tables_can_be_imported(database: Database, tmp_path: Path) -> None:
    """An earlier version wrote it, when no money could be moved in or out."""
    await fill_up(database)
    await export_history(database, "main", tmp_path / "out", "csv")
    path = tmp_path / "out" / "history.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["rows"]["capital"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "out" / "capital.csv").unlink()
    other = Database(file_database(tmp_path))
    await other.open()
    await import_history(other, "main", tmp_path / "out")
    found, wanted = await content(other), await content(database)
    assert found.pop("gridflow_capital") == []
    assert len(wanted.pop("gridflow_capital")) == 1
    assert found == wanted
    await other.close()


async def test_an_import_adds_to_what_is_there(database: Database, tmp_path: Path) -> None:
    """Fills that the archiver has written meanwhile count once in the totals."""
    await fill_up(database)
    await export_history(database, "main", tmp_path / "out", "parquet")
    other = Database(file_database(tmp_path))
    await other.open()
    async with other.begin() as connection:
        await claim(connection, "main", 1, 1)
        await write(connection, "main", batch_of(Record("9-0", "fill", one.model_dump_json()) for one in FILLS[:50]))
    await import_history(other, "main", tmp_path / "out")
    found, wanted = await content(other), await content(database)
    for name in ("gridflow_fills", "gridflow_days", "gridflow_rounds", "gridflow_lots"):
        assert found[name] == wanted[name]
    await other.close()


async def test_a_folder_that_is_no_export_of_the_account_is_refused(database: Database, tmp_path: Path) -> None:
    """Each message says what is wrong; nothing is written."""
    await fill_up(database)
    with pytest.raises(GridflowError, match="holds no export"):
        await import_history(database, "main", tmp_path)
    out = tmp_path / "out"
    await export_history(database, "main", out, "csv")
    with pytest.raises(GridflowError, match="holds an export already"):
        await export_history(database, "main", out, "csv")
    with pytest.raises(GridflowError, match="is an export of account 'main'"):
        await import_history(database, "other", out)
    text = (out / "fills.csv").read_text(encoding="utf-8")
    before = await content(database)
    for broken, why in (
        (text.rsplit("\n", 2)[0] + "\n", "has 199 rows, the export wrote 200"),
        ("x\n1\n", "cannot be read"),
    ):
        (out / "fills.csv").write_text(broken, encoding="utf-8")
        with pytest.raises(GridflowError, match=why):
            await import_history(database, "main", out)
    assert await content(database) == before


@pytest.fixture
async def stopped_stack() -> None:
    """The history of a stack that has ended: a file in the state folder."""
    database = Database(URL.create("sqlite+aiosqlite", database=str(state_dir() / "history.db")))
    await database.open()
    await fill_up(database)
    await database.close()


@pytest.mark.usefixtures("stopped_stack")
def test_trades_of_a_year_for_a_tax_tool(tmp_path: Path) -> None:
    """One row a fill of 2026 in UTC, with the fee and its coin; the values add up to those of the fills."""
    out = tmp_path / "trades.csv"
    done = CliRunner().invoke(cli, ["export-trades", "--year", "2026", "--format", "csv", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    wanted = [fill for fill in FILLS if fill.at_ms >= datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000]
    assert 0 < len(rows) == len(wanted) < 200
    assert sum(Decimal(row["value"]) for row in rows) == sum(fill.quote for fill in wanted)
    assert {row["fee_coin"] for row in rows} == {"USDT"}
    assert min(row["time_utc"] for row in rows).startswith("2026-01-01T")


@pytest.mark.usefixtures("stopped_stack")
def test_history_commands_need_no_stack(tmp_path: Path) -> None:
    """Export from the file, import into another state folder, and the same trades come out again."""
    first = CliRunner().invoke(cli, ["export-trades", "--format", "koinly"])
    assert first.exit_code == 0, first.output
    done = CliRunner().invoke(cli, ["history", "export", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    other = ["--state", str(tmp_path / "other")]
    missing = CliRunner().invoke(cli, ["export-trades", *other])
    assert "There is no history yet" in str(missing.exception)
    done = CliRunner().invoke(cli, ["history", "import", str(tmp_path / "out"), *other])
    assert done.exit_code == 0, done.output
    second = CliRunner().invoke(cli, ["export-trades", "--format", "koinly", *other])
    assert second.stdout == first.stdout
    rows = list(csv.DictReader(io.StringIO(second.stdout)))
    assert len(rows) == 200


def test_koinly_rows_name_what_was_sent_and_received() -> None:
    """A buy sends quote, a sell sends base; a fee in a third coin keeps its coin."""
    bought = next(fill for fill in FILLS if fill.side is Side.BUY).model_copy(update={"fee_currency": "BNB"})
    row = tax_row(bought, TaxFormat.KOINLY)
    assert (row["Sent Currency"], row["Received Currency"], row["Fee Currency"]) == ("USDT", bought.symbol[:2], "BNB")
    assert Decimal(row["Sent Amount"]) == bought.quote
    sold = tax_row(next(fill for fill in FILLS if fill.side is Side.SELL), TaxFormat.KOINLY)
    assert sold["Received Currency"] == "USDT"
    assert columns(TaxFormat.KOINLY)[0] == "Date"
