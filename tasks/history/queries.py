"""Reading the history: pages of fills, totals of any time span, the equity curve."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.clock import DAY_MS
from tasks.exchange.models import Frozen, Side
from tasks.history import tables
from tasks.ledger.models import Fill

_FILLS = tables.FILLS.c
_DAYS = tables.DAYS.c
_KEY = (_FILLS.at_ms, _FILLS.symbol, _FILLS.trade_id)
_FILL_COLUMNS = [column for column in tables.FILLS.columns if column.name != "account"]
_ROUNDS = tables.ROUNDS.c


class Cursor(NamedTuple):
    """A place between fills: right after (older than) this one, newest first."""

    at_ms: int
    symbol: str
    trade_id: str

    def text(self) -> str:
        """For URLs."""
        return f"{self.at_ms}|{self.symbol}|{self.trade_id}"

    @classmethod
    def of(cls, text: str) -> "Cursor":
        """The cursor that `text` returned. Raises ValueError."""
        at_ms, symbol, trade_id = text.split("|", 2)
        return cls(int(at_ms), symbol, trade_id)

    @classmethod
    def after(cls, fill: Fill) -> "Cursor":
        """The place right after a fill."""
        return cls(fill.at_ms, fill.symbol, fill.trade_id)


class FillFilter(Frozen):
    """Which fills. None: any. `from_ms` is part of the span, `to_ms` is not."""

    symbol: str | None = None
    side: Side | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class Page(NamedTuple):
    """Fills, newest first, and the places of the pages around them; None at an end."""

    fills: tuple[Fill, ...]
    newer: Cursor | None
    older: Cursor | None


async def fills_page(
    connection: AsyncConnection,
    account: str,
    wanted: FillFilter,
    limit: int,
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> Page:
    """The newest fills, or those next to a cursor. The time of a page does not grow with its place."""
    asked = select(*_FILL_COLUMNS).where(*conditions(account, wanted))
    newest_first = [column.desc() for column in _KEY]
    if newer_than is not None:
        asked = asked.where(tuple_(*_KEY) > tuple_(*newer_than)).order_by(*_KEY)
    elif older_than is not None:
        asked = asked.where(tuple_(*_KEY) < tuple_(*older_than)).order_by(*newest_first)
    else:
        asked = asked.order_by(*newest_first)
    rows = list(await connection.execute(asked.limit(limit + 1)))
    has_more, rows = len(rows) > limit, rows[:limit]
    if newer_than is not None:
        rows.reverse()
    found = tuple(_fill(row) for row in rows)
    if not found:
        return Page((), None, None)
    has_newer = has_more if newer_than is not None else older_than is not None
    has_older = True if newer_than is not None else has_more
    return Page(found, Cursor.after(found[0]) if has_newer else None, Cursor.after(found[-1]) if has_older else None)


async def fills_at(
    connection: AsyncConnection, account: str, wanted: FillFilter, limit: int, position: int
) -> tuple[Fill, ...]:
    """`limit` fills from that position on, newest first. The totals of the days say in which day it is."""
    skipped = 0
    to_ms = wanted.to_ms
    for day, count in await _days(connection, account, wanted):
        start, end = max(day * DAY_MS, wanted.from_ms or 0), min((day + 1) * DAY_MS, wanted.to_ms or 2**62)
        if start > day * DAY_MS or end < (day + 1) * DAY_MS:
            part = wanted.model_copy(update={"from_ms": start, "to_ms": end})
            count = await _count(connection, account, part)
        to_ms = end
        if skipped + count > position:
            break
        skipped += count
    else:
        return ()
    rest = wanted.model_copy(update={"to_ms": to_ms})
    asked = select(*_FILL_COLUMNS).where(*conditions(account, rest)).order_by(*(column.desc() for column in _KEY))
    rows = await connection.execute(asked.limit(limit).offset(position - skipped))
    return tuple(_fill(row) for row in rows)


async def count_fills(connection: AsyncConnection, account: str, wanted: FillFilter) -> int:
    """How many fills there are, exactly: whole days from their totals, the rest counted."""
    total = 0
    for start, end, is_whole in spans(wanted.from_ms, wanted.to_ms):
        part = wanted.model_copy(update={"from_ms": start, "to_ms": end})
        if is_whole:
            total += sum(count for _, count in await _days(connection, account, part))
        else:
            total += await _count(connection, account, part)
    return total


async def traded_symbols(connection: AsyncConnection, account: str) -> list[str]:
    """All symbols with a fill, sorted."""
    return list((await connection.execute(_traded(account).order_by(_DAYS.symbol))).scalars())


def _traded(account: str) -> Select[str]:
    """The symbols with a fill."""
    return select(_DAYS.symbol).where(_DAYS.account == account).distinct()


async def minute_prices(
    connection: AsyncConnection, account: str, symbol: str, start_ms: int
) -> list[tuple[int, Decimal]]:
    """(time, price) of a symbol of each minute since then, oldest first."""
    equity = tables.EQUITY.c
    own = (equity.account == account, equity.symbol == symbol, equity.at_ms >= start_ms, equity.price.is_not(None))
    asked = select(equity.at_ms, equity.price).where(*own).order_by(equity.at_ms)
    return [(at_ms, price) for at_ms, price in await connection.execute(asked)]


async def hourly_prices(
    connection: AsyncConnection, account: str, start_ms: int, symbol: str | None = None
) -> dict[str, list[tuple[int, Decimal]]]:
    """Symbol → (time, price) at the end of each hour since then, oldest first; of all symbols or of one."""
    hours = tables.EQUITY_HOURS.c
    own = [hours.account == account, hours.hour_ms >= start_ms, hours.price.is_not(None)]
    own += [hours.symbol == symbol] if symbol is not None else []
    found: dict[str, list[tuple[int, Decimal]]] = {}
    asked = select(hours.symbol, hours.last_ms, hours.price).where(*own).order_by(hours.hour_ms)
    for name, at_ms, price in await connection.execute(asked):
        found.setdefault(name, []).append((at_ms, price))
    return found


async def prices_at(
    connection: AsyncConnection, account: str, symbol: str | None, at_ms: int, *, after: bool
) -> dict[str, Decimal]:
    """Price of the symbol, or of each symbol with a fill, at its first hour from `at_ms` on, or its last before it.

    One query. Without such an hour a symbol is left out.
    """
    names = _traded(account) if symbol is None else select(literal(symbol, Text).label("symbol"))
    hours, asked = tables.EQUITY_HOURS.c, names.cte("asked")
    own = [hours.account == account, hours.symbol == asked.c.symbol, hours.price.is_not(None)]
    nearest = select(hours.price).where(*own, hours.hour_ms >= at_ms if after else hours.hour_ms < at_ms)
    nearest = nearest.order_by(hours.hour_ms if after else hours.hour_ms.desc()).limit(1)
    rows = await connection.execute(select(asked.c.symbol, nearest.scalar_subquery()))
    return {symbol: Decimal(price) for symbol, price in rows if price}


async def newest_rows(connection: AsyncConnection, account: str, table: Table, limit: int) -> list[dict[str, Any]]:
    """The newest rows of a table with a time, newest first, without the account."""
    columns = [column for column in table.columns if column.name != "account"]
    asked = select(*columns).where(table.c.account == account).order_by(table.c.at_ms.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(asked)).mappings()]


async def rebalance_lines(
    connection: AsyncConnection, account: str, versions: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """The lines of the rebalances with these (time, version), by symbol."""
    lines = tables.REBALANCE_LINES.c
    asked = select(*(column for column in lines if column.name != "account"))
    asked = asked.where(lines.account == account, tuple_(lines.at_ms, lines.version).in_(versions))
    return [dict(row) for row in (await connection.execute(asked.order_by(lines.symbol))).mappings()]


# --- conditions --------------------------------------------------------------------------------------------
def conditions(account: str, wanted: FillFilter) -> list[ColumnElement[bool]]:
    """Of the fills that the filter holds."""
    found: list[ColumnElement[bool]] = [_FILLS.account == account]
    if wanted.symbol is not None:
        found.append(_FILLS.symbol == wanted.symbol)
    if wanted.side is not None:
        found.append(_FILLS.side == wanted.side.value)
    if wanted.from_ms is not None:
        found.append(_FILLS.at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        found.append(_FILLS.at_ms < wanted.to_ms)
    return found


def days_of(wanted: FillFilter) -> Table:
    """The table that has the totals of days for a filter: of one symbol, or of all together."""
    return tables.ACCOUNT_DAYS if wanted.symbol is None else tables.DAYS


def day_conditions(table: Table, account: str, wanted: FillFilter) -> list[ColumnElement[bool]]:
    """Of every day in a table of totals that has a part of the span."""
    days = table.c
    found: list[ColumnElement[bool]] = [days.account == account]
    if wanted.symbol is not None:
        found.append(days.symbol == wanted.symbol)
    if wanted.side is not None:
        found.append(days.side == wanted.side.value)
    if wanted.from_ms is not None:
        found.append(days.day >= wanted.from_ms // DAY_MS)
    if wanted.to_ms is not None:
        found.append(days.day < -(-wanted.to_ms // DAY_MS))
    return found


async def _days(connection: AsyncConnection, account: str, wanted: FillFilter) -> list[tuple[int, int]]:
    """(day, fills) of every day that has a part of the span, newest first."""
    table = days_of(wanted)
    days = table.c
    asked = select(days.day, func.sum(days.fills)).group_by(days.day).order_by(days.day.desc())
    asked = asked.where(*day_conditions(table, account, wanted))
    return [(int(day), int(count)) for day, count in await connection.execute(asked)]


async def _count(connection: AsyncConnection, account: str, wanted: FillFilter) -> int:
    asked = select(func.count()).select_from(tables.FILLS).where(*conditions(account, wanted))
    return int((await connection.execute(asked)).scalar_one())


def spans(from_ms: int | None, to_ms: int | None) -> list[tuple[int | None, int | None, bool]]:
    """A span cut into whole UTC days and the parts of days at its ends: (from, to, is whole)."""
    first = None if from_ms is None else -(-from_ms // DAY_MS) * DAY_MS
    last = None if to_ms is None else to_ms // DAY_MS * DAY_MS
    if first is not None and last is not None and first > last:
        return [(from_ms, to_ms, False)]
    found: list[tuple[int | None, int | None, bool]] = []
    if from_ms != first:
        found.append((from_ms, first, False))
    if first is None or last is None or first < last:
        found.append((first, last, True))
    if to_ms != last:
        found.append((last, to_ms, False))
    return found


def _fill(row: Sequence[Any]) -> Fill:
    values = {column.name: value for column, value in zip(_FILL_COLUMNS, row, strict=True)}
    return Fill.model_construct(**values | {"side": Side(values["side"])})
