"""Writing batches to the history's tables."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import String, Table, Text, and_, bindparam, cast, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.clock import DAY_MS
from tasks.exchange.models import Side
from tasks.history import tables
from tasks.history.column_types import Exact
from tasks.history.rows import HOUR_MS, MINUTE_MS, Batch, Row, changes_between
from tasks.history.totals import FillTotals, account_day_row, day_row, hours_of, sell_id, tally_of_day
from tasks.ledger.models import Fill
from tasks.ledger.rounds import Round, lots_as_json, lots_from_json

_FILL_FIELDS = {column.name for column in tables.FILLS.columns} - {"account"}


class StaleArchiver(Exception):
    """Another archiver has taken over: this one writes nothing any more."""


async def claim(connection: AsyncConnection, account: str, fence: int, now_ms: int) -> None:
    """Let no archiver with a lower fence write, and no other one before this transaction ends.

    Raises StaleArchiver where one with a higher fence has written.
    """
    first = {"account": account, "fence": fence, "archived_ms": now_ms, "has_lists": False}
    await add(connection, tables.ARCHIVES, [first])
    archives = tables.ARCHIVES.c
    mine = (archives.account == account) & (archives.fence <= fence)
    done = await connection.execute(update(tables.ARCHIVES).where(mine).values(fence=fence, archived_ms=now_ms))
    if done.rowcount == 0:
        raise StaleArchiver


async def lock(connection: AsyncConnection, account: str) -> None:
    """Let nobody else write the account's history before this transaction ends."""
    first = {"account": account, "fence": 0, "archived_ms": 0, "has_lists": False}
    await add(connection, tables.ARCHIVES, [first])
    mine = tables.ARCHIVES.c.account == account
    await connection.execute(update(tables.ARCHIVES).where(mine).values(account=account))


async def has_lists(connection: AsyncConnection, account: str) -> bool:
    """Whether the lists of earlier versions have been archived."""
    archives = tables.ARCHIVES.c
    return bool((await connection.execute(select(archives.has_lists).where(archives.account == account))).scalar())


async def set_has_lists(connection: AsyncConnection, account: str) -> None:
    """The lists of earlier versions have been archived."""
    mine = update(tables.ARCHIVES).where(tables.ARCHIVES.c.account == account)
    await connection.execute(mine.values(has_lists=True))


async def add(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows. One whose key is there already changes nothing."""
    if rows:
        await _insert_rows(connection, table, _insert(connection, table).on_conflict_do_nothing(), rows)


async def add_new(connection: AsyncConnection, table: Table, rows: Sequence[Row], *keys: str) -> list[tuple[Any, ...]]:
    """Insert rows; columns `keys` of those that were not there before."""
    if not rows:
        return []
    insert = _insert(connection, table).on_conflict_do_nothing().returning(*(table.c[name] for name in keys))
    return [tuple(row) for row in await _insert_rows(connection, table, insert, rows)]


async def put(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or replace those with the same keys. In a table with a sequence, a lower one replaces nothing."""
    if not rows:
        return
    insert = _insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changes = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys}
    has_sequence = "sequence" in table.c
    newer = insert.excluded.sequence > table.c.sequence if has_sequence else None
    update = insert.on_conflict_do_update(index_elements=keys, set_=changes, where=newer)
    ordered = sorted(rows, key=lambda row: row["sequence"]) if has_sequence else rows
    newest = {tuple(row[name] for name in keys): row for row in ordered}
    await _insert_rows(connection, table, update, list(newest.values()))


def _insert(connection: AsyncConnection, table: Table) -> Any:
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


async def _insert_rows(connection: AsyncConnection, table: Table, insert: Any, rows: Sequence[Row]) -> Any:
    """Run an insert of many rows, which all have the same columns.

    On PostgreSQL each column goes as one array: a statement with a parameter for every value takes five times as long
    to parse as the rows take to write.
    """
    if connection.dialect.name == "sqlite":
        return await connection.execute(insert, rows)
    names = list(rows[0])
    columns, values = [], {}
    for name in names:
        kind = table.c[name].type
        array = postgresql.ARRAY(Text() if isinstance(kind, Exact | String) else kind)
        columns.append(func.unnest(cast(bindparam(name, type_=array), array)))
        if isinstance(kind, Exact):
            values[name] = [kind.process_bind_param(row[name], connection.dialect) for row in rows]
        else:
            values[name] = [row[name] for row in rows]
    return await connection.execute(insert.from_select(names, select(*columns)), values)


async def write(connection: AsyncConnection, account: str, batch: Batch) -> None:
    """Write a batch. What is in the tables already is not counted again."""
    own = {"account": account}
    await _write_fills(connection, account, batch.fills)
    await _write_points(connection, account, batch.points)
    await _write_settings(connection, account, batch.settings)
    for name, rows in batch.added.items():
        await add(connection, tables.table_of(name), [own | row for row in rows])
    for name, rows in batch.put.items():
        await put(connection, tables.table_of(name), [own | row for row in rows])
    for symbol, at_ms, names in batch.grids:
        await _end_grids(connection, account, symbol, at_ms, names)


async def _write_fills(connection: AsyncConnection, account: str, fills: Sequence[Fill]) -> None:
    if not fills:
        return
    own = {"account": account}
    rows = [own | {name: getattr(fill, name) for name in _FILL_FIELDS} | {"side": fill.side.value} for fill in fills]
    fresh = await add_new(connection, tables.FILLS, rows, "symbol", "trade_id")
    found = {(fill.symbol, fill.trade_id): fill for fill in fills}
    new = sorted((found[symbol, name] for symbol, name in fresh), key=lambda fill: (fill.at_ms, fill.trade_id))
    if not new:
        return
    totals = await _totals(connection, account, new)
    for fill in new:
        totals.add(fill)
    await put(connection, tables.ROUNDS, [own | dict(one) for one in totals.rounds.values()])
    await put(connection, tables.DAYS, [own | day_row(day, tally) for day, tally in totals.days.items()])
    account_days = [own | account_day_row(day, tally) for day, tally in totals.account_days.items()]
    await put(connection, tables.ACCOUNT_DAYS, account_days)
    lots = [
        own | {"symbol": symbol, "cell_key": key, "lots": json.dumps(lots_as_json(lots))}
        for (symbol, key), lots in totals.lots.items()
    ]
    await put(connection, tables.LOTS, lots)


async def _totals(connection: AsyncConnection, account: str, fills: Sequence[Fill]) -> FillTotals:
    """The stored totals that `fills` change."""
    found = FillTotals()
    cells = {(fill.symbol, fill.cell_key) for fill in fills}
    for symbol, key, lots in await _found(
        connection, account, tables.LOTS, ("symbol", "cell_key"), cells, ("symbol", "cell_key", "lots")
    ):
        found.lots[symbol, key] = lots_from_json(json.loads(lots))
    sells = {(fill.symbol, sell_id(fill)) for fill in fills}
    names = tuple(Round.model_fields)
    for row in await _found(connection, account, tables.ROUNDS, ("symbol", "sell_id"), sells, names):
        one = Round.model_validate(dict(zip(names, row, strict=True)))
        found.rounds[one.symbol, one.sell_id] = one
    moments = [(fill.symbol, fill.at_ms) for fill in fills]
    moments += [(one.symbol, one.closed_ms) for one in found.rounds.values()]
    days = {(symbol, at_ms // DAY_MS) for symbol, at_ms in moments}
    names = tuple(column.name for column in tables.DAYS.columns)
    for row in await _found(connection, account, tables.DAYS, ("symbol", "day"), days, names):
        values = dict(zip(names, row, strict=True))
        found.days[values["symbol"], values["side"], values["day"]] = tally_of_day(values)
    numbers = {(side.value, day) for side in Side for _, day in days}
    names = tuple(column.name for column in tables.ACCOUNT_DAYS.columns)
    for row in await _found(connection, account, tables.ACCOUNT_DAYS, ("side", "day"), numbers, names):
        values = dict(zip(names, row, strict=True))
        found.account_days[values["side"], values["day"]] = tally_of_day(values)
    return found


async def _write_points(connection: AsyncConnection, account: str, points: Sequence[Row]) -> None:
    """At most one point a minute: the first."""
    own = {"account": account}
    minutes: dict[tuple[str, int], Row] = {}
    for point in points:
        at_ms = point["at_ms"] // MINUTE_MS * MINUTE_MS
        minutes.setdefault((point["symbol"], at_ms), point | {"at_ms": at_ms})
    if not minutes:
        return
    key = ("symbol", "at_ms")
    for known in await _found(connection, account, tables.EQUITY, key, minutes, key):
        del minutes[known[0], known[1]]
    new = sorted(minutes.values(), key=lambda point: point["at_ms"])
    touched = {(point["symbol"], point["at_ms"] // HOUR_MS * HOUR_MS) for point in new}
    names = tuple(column.name for column in tables.EQUITY_HOURS.columns)
    rows = await _found(connection, account, tables.EQUITY_HOURS, ("symbol", "hour_ms"), touched, names)
    hours = [dict(zip(names, row, strict=True)) for row in rows]
    known_hours = {(row["symbol"], row["hour_ms"]): row for row in hours}
    await add(connection, tables.EQUITY, [own | point for point in new])
    await put(connection, tables.EQUITY_HOURS, [own | row for row in hours_of(new, known_hours).values()])


async def _write_settings(connection: AsyncConnection, account: str, versions: Sequence[Row]) -> None:
    """Each version with its difference to the one before."""
    settings = tables.SETTINGS.c
    for row in versions:
        earlier = select(settings.body).where(settings.account == account, settings.at_ms < row["at_ms"])
        before = (await connection.execute(earlier.order_by(settings.at_ms.desc()).limit(1))).scalar()
        changes = changes_between(json.loads(before) if before else {}, json.loads(row["body"]))
        await add(connection, tables.SETTINGS, [{"account": account, "changes": json.dumps(changes)} | row])


async def _end_grids(
    connection: AsyncConnection, account: str, symbol: str, at_ms: int, names: Collection[str]
) -> None:
    """A grid ends when the symbol's next one of its name begins, or when the symbol has none of its name any more.

    `names`: of the grids that it has at `at_ms`.
    """
    grids = tables.GRIDS.c
    own = (grids.account == account) & (grids.symbol == symbol)
    rows = (await connection.execute(select(grids.name, grids.from_ms).where(own).order_by(grids.from_ms))).all()
    by_name: dict[str, list[int]] = defaultdict(list)
    for name, since in rows:
        by_name[name].append(since)
    for name, times in by_name.items():
        ends = [*pairwise(times), *([] if name in names or times[-1] > at_ms else [(times[-1], at_ms)])]
        for since, until in ends:
            lasts = (grids.until_ms.is_(None)) | (grids.until_ms > until)
            one = update(tables.GRIDS).where(own, grids.name == name, grids.from_ms == since, lasts)
            await connection.execute(one.values(until_ms=until))


async def _found(
    connection: AsyncConnection,
    account: str,
    table: Table,
    key: tuple[str, str],
    wanted: Iterable[tuple[Any, Any]],
    names: tuple[str, ...],
) -> list[tuple[Any, ...]]:
    """Columns `names` of the rows whose two columns `key` are among `wanted`.

    Each wanted row is looked up by the table's key. SQLite reads all rows of the account for `(a, b) IN (…)`, and also
    where the account is compared with a constant: it stands in each wanted row there.
    """
    keys = sorted(wanted)
    if not keys:
        return []
    first, second = (table.c[name] for name in key)
    if connection.dialect.name == "sqlite":
        listed: Any = func.json_each(json.dumps([(account, *key) for key in keys])).table_valued("value", name="wanted")
        values: list[Any] = [func.json_extract(listed.c.value, f"$[{place}]") for place in (0, 1, 2)]
    else:
        arrays = [
            cast(bindparam(None, list(each)), postgresql.ARRAY(column.type))
            for column, each in zip((first, second), zip(*keys, strict=True), strict=True)
        ]
        listed = func.unnest(*arrays).table_valued("first", "second", name="wanted").render_derived()
        values = [account, listed.c.first, listed.c.second]
    same = and_(*(column == value for column, value in zip((table.c.account, first, second), values, strict=True)))
    asked = select(*(table.c[name] for name in names)).select_from(listed.join(table, same))
    return [tuple(row) for row in await connection.execute(asked)]
