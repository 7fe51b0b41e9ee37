"""Export of the history to files and import from them: backup, and the move to another database."""

import csv
import json
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, select, tuple_

from tasks.base.errors import GridflowError
from tasks.base.money import plain
from tasks.history import tables
from tasks.history.column_types import Exact
from tasks.history.database import Database
from tasks.history.rows import Batch, Row
from tasks.history.store import add, lock, put, write
from tasks.ledger.models import Fill

Format = Literal["parquet", "csv"]
_ROWS = 5000
_FORMAT_VERSION = 1
_MANIFEST = "history.json"
# Totals follow from fills and points, so an import makes them again; the archiver's own state belongs to its database.
_NOT_IMPORTED = ("rounds", "days", "account_days", "lots", "archives")


def _names() -> list[str]:
    return [name.removeprefix(tables.PREFIX) for name in sorted(tables.METADATA.tables) if name != tables.ARCHIVES.name]


# --- export ------------------------------------------------------------------------------------------------
async def export_history(database: Database, account: str, folder: Path, kind: Format) -> dict[str, int]:
    """Write each table of the account to a file; how many rows of each. Amounts are exact text, times ms UTC.

    Raises GridflowError where the folder holds an export already.
    """
    _make_folder(folder)
    counts = {}
    for name in _names():
        counts[name] = await _export_table(database, account, name, folder, kind)
    manifest = {"version": _FORMAT_VERSION, "account": account, "format": kind, "rows": counts}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return counts


def _make_folder(folder: Path) -> None:
    if (folder / _MANIFEST).exists():
        raise GridflowError(f"{folder} holds an export already. Give another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)


async def _export_table(database: Database, account: str, name: str, folder: Path, kind: Format) -> int:
    table, count = tables.table_of(name), 0
    path = folder / f"{name}.{kind}"
    write_rows = _parquet_file(path, table) if kind == "parquet" else _csv_file(path, table)
    next(write_rows)
    try:
        async for rows in _rows_of(database, account, table):
            write_rows.send(rows)
            count += len(rows)
    finally:
        write_rows.close()
    return count


async def _rows_of(database: Database, account: str, table: Table) -> AsyncIterator[list[Row]]:
    """All rows of the account in the order of their key, in parts."""
    keys = [column for column in table.primary_key if column.name != "account"]
    last: tuple[Any, ...] | None = None
    while True:
        asked = select(table).where(table.c.account == account).order_by(*keys).limit(_ROWS)
        if last is not None:
            asked = asked.where(tuple_(*keys) > tuple_(*last))
        async with database.connection() as connection:
            rows = [dict(row) for row in (await connection.execute(asked)).mappings()]
        if rows:
            last = tuple(rows[-1][column.name] for column in keys)
            yield [{name: _exported(value) for name, value in row.items()} for row in rows]
        if len(rows) < _ROWS:
            return


def _exported(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value


def _parquet_file(path: Path, table: Table) -> Generator[None, list[Row], None]:
    """Takes parts of the rows by `send`."""
    schema = pa.schema([(column.name, _arrow_type(column.type)) for column in table.columns])
    with pq.ParquetWriter(path, schema) as file:
        while True:
            rows = yield
            file.write_table(pa.Table.from_pylist(rows, schema=schema))


def _arrow_type(kind: object) -> pa.DataType:
    if isinstance(kind, Boolean):
        return pa.bool_()
    return pa.int64() if isinstance(kind, BigInteger | Integer) else pa.string()


def _csv_file(path: Path, table: Table) -> Generator[None, list[Row], None]:
    """Takes parts of the rows by `send`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [column.name for column in table.columns])
        writer.writeheader()
        while True:
            rows = yield
            writer.writerows(rows)


# --- import ------------------------------------------------------------------------------------------------
async def import_history(database: Database, account: str, folder: Path) -> dict[str, int]:
    """Add an export to the account's history; how many rows each file has. Rows that are there already count once.

    Totals are made again from fills and points. Raises GridflowError for a folder without an export, of another
    account or version, and for a file that cannot be read; nothing is written then.
    """
    manifest = _manifest(folder, account)
    known = [name for name in _names() if name in manifest["rows"] and name not in _NOT_IMPORTED]
    content = {name: list(_typed(folder, name, manifest["format"])) for name in known}
    for name, rows in content.items():
        if len(rows) != manifest["rows"][name]:
            raise GridflowError(f"{folder / name}: has {len(rows)} rows, the export wrote {manifest['rows'][name]}")
    own = {"account": account}
    async with database.begin() as connection:
        await lock(connection, account)
        for name in ("orders", "grids", "flags", "equity_hours", "checkpoints"):
            await put(connection, tables.table_of(name), [row | own for row in content.pop(name, [])])
        fills, points = content.pop("fills"), content.pop("equity")
        for part in _parts(sorted(fills, key=lambda row: (row["at_ms"], row["trade_id"]))):
            found = [Fill.model_validate({name: row[name] for name in Fill.model_fields}) for row in part]
            await write(connection, account, Batch(fills=found))
        for part in _parts(points):
            await write(connection, account, Batch(points=part))
        for name, rows in content.items():
            await add(connection, tables.table_of(name), [row | own for row in rows])
    return {name: int(count) for name, count in manifest["rows"].items() if name not in _NOT_IMPORTED}


def _manifest(folder: Path, account: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GridflowError(f"{folder} holds no export: {_MANIFEST} cannot be read ({error})") from None
    if found.get("version") != _FORMAT_VERSION or found.get("account") != account:
        raise GridflowError(
            f"{folder} is an export of account {found.get('account')!r}, version {found.get('version')}. This command "
            f"imports version {_FORMAT_VERSION} into account {account!r}: set `account` in the settings"
        )
    return found


def _typed(folder: Path, name: str, kind: Format) -> Iterator[Row]:
    """The rows of a file with the types of the table. Raises GridflowError, which names the file."""
    table, path = tables.table_of(name), folder / f"{name}.{kind}"
    try:
        for row in pq.read_table(path).to_pylist() if kind == "parquet" else _csv_rows(path):
            yield {column.name: _value(_given(row, column), column) for column in table.columns}
    except (OSError, ValueError, KeyError, InvalidOperation, pa.ArrowException) as error:
        raise GridflowError(f"{path} cannot be read: {error!r}") from None


def _csv_rows(path: Path) -> Iterator[Mapping[str, str | None]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _given(row: Mapping[str, Any], column: "Column[Any]") -> Any:
    """The row's value; the column's default where an earlier version exported none. Raises KeyError without either."""
    if column.name not in row and column.server_default is not None:
        return column.server_default.arg  # type: ignore[attr-defined]
    return row[column.name]


def _value(value: Any, column: "Column[Any]") -> Any:
    kind = column.type
    if value is None or (value == "" and column.nullable):
        return None
    if isinstance(kind, Exact):
        return Decimal(value)
    if isinstance(kind, Boolean):
        return value in (True, "True", "true", "1")
    return int(value) if isinstance(kind, BigInteger | Integer) else str(value)


def _parts(rows: Sequence[Row]) -> Iterator[list[Row]]:
    for first in range(0, len(rows), _ROWS):
        yield list(rows[first : first + _ROWS])
