"""How long the history keeps what: old rows are deleted, a few thousand at a time, so that the archiver never waits."""

from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select

from tasks.base.clock import DAY_MS
from tasks.history import tables
from tasks.history.database import Database
from tasks.settings.model import HistorySettings

_ROWS = 5000


def first_kept_ms(days: int, now_ms: int) -> int | None:
    """Where what is kept begins: at midnight in UTC, so that the totals of days stay whole; None: for ever."""
    return (now_ms // DAY_MS - days) * DAY_MS if days else None


async def prune(database: Database, account: str, keep: HistorySettings, now_ms: int) -> dict[str, int]:
    """Delete what is older than the settings say; how many rows of each table. Raises HistoryUnavailable."""
    trades, events, refusals, points = (
        first_kept_ms(days, now_ms)
        for days in (keep.trades_days, keep.events_days, keep.blocked_days, keep.symbol_minutes_days)
    )
    changes = first_kept_ms(keep.order_changes_days, now_ms)
    counts: dict[str, int] = {}
    for table, column, since, also in (
        (tables.EVENTS, "at_ms", events, None),
        (tables.BLOCKED, "at_ms", refusals, None),
        (tables.ORDER_CHANGES, "at_ms", changes, None),
        (tables.ROUNDS, "closed_ms", trades, None),
        (tables.FILLS, "at_ms", trades, None),
        (tables.ORDERS, "created_ms", trades, tables.ORDERS.c.ended_ms.is_not(None)),
    ):
        if since is not None:
            counts[_name(table)] = await _delete(database, account, table, column, since, also)
    if trades is not None:
        await _delete_days(database, account, trades // DAY_MS)
    if points is not None:
        for symbol in await _symbols(database, account):
            own = tables.EQUITY.c.symbol == symbol
            done = await _delete(database, account, tables.EQUITY, "at_ms", points, own)
            counts["equity"] = counts.get("equity", 0) + done
    return {name: count for name, count in counts.items() if count}


def _name(table: Table) -> str:
    return table.name.removeprefix(tables.PREFIX)


async def _delete(
    database: Database, account: str, table: Table, column: str, since: int, also: ColumnElement[bool] | None
) -> int:
    """Delete the rows before `since` that `also` holds for, the oldest first; how many."""
    time, total = table.c[column], 0
    old = [table.c.account == account, time < since, *([] if also is None else [also])]
    while True:
        async with database.begin() as connection:
            part = select(time).where(*old).order_by(time).limit(_ROWS)
            times = (await connection.execute(part)).scalars().all()
            if not times:
                return total
            done: Any = await connection.execute(delete(table).where(*old, time <= times[-1]))
            total += int(done.rowcount)


async def _delete_days(database: Database, account: str, first: int) -> None:
    """The totals go with their trades: pages are counted from them."""
    async with database.begin() as connection:
        for days in (tables.DAYS, tables.ACCOUNT_DAYS):
            await connection.execute(delete(days).where(days.c.account == account, days.c.day < first))


async def _symbols(database: Database, account: str) -> list[str]:
    """Symbols with equity points; '' is the account, whose minutes stay."""
    equity = tables.EQUITY_HOURS.c
    asked = select(equity.symbol).where(equity.account == account, equity.symbol != "").distinct()
    async with database.connection() as connection:
        return [str(symbol) for symbol in (await connection.execute(asked)).scalars()]
