"""Totals of fills and rounds: whole UTC days from the table of days, the rest counted."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.money import ZERO, exact
from tasks.exchange.models import Side
from tasks.history import tables
from tasks.history.queries import FillFilter, conditions, day_conditions, days_of, spans
from tasks.ledger.statistics import Tally, total_of

_FILLS, _ROUNDS = tables.FILLS.c, tables.ROUNDS.c
_SUMS = ("volume", "fees", "profit", "rounds", "wins", "won", "lost", "held_ms")  # of a table of days


async def tally_of(connection: AsyncConnection, account: str, wanted: FillFilter) -> Tally:
    """The totals of all fills that the filter holds, and of the rounds that its sells closed."""
    found: list[Tally] = []
    for start, end, is_whole in spans(wanted.from_ms, wanted.to_ms):
        part = wanted.model_copy(update={"from_ms": start, "to_ms": end})
        found.append(await (_tally_of_days if is_whole else _tally_of_part)(connection, account, part))
    return total_of(found)


async def tallies_by_day(connection: AsyncConnection, account: str, wanted: FillFilter) -> dict[int, Tally]:
    """Day (since the epoch, UTC) → its totals, of every day that has a part of the span and a fill."""
    return await _grouped(connection, account, wanted, days_of(wanted), "day")


async def tallies_by_symbol(connection: AsyncConnection, account: str, wanted: FillFilter) -> dict[str, Tally]:
    """Symbol → its totals of every day that has a part of the span."""
    return await _grouped(connection, account, wanted, tables.DAYS, "symbol")


async def _tally_of_days(connection: AsyncConnection, account: str, wanted: FillFilter) -> Tally:
    """The totals of whole days."""
    found = await _grouped(connection, account, wanted, days_of(wanted), "account")
    return found.get(account, Tally())


async def _grouped(
    connection: AsyncConnection, account: str, wanted: FillFilter, table: Table, column: str
) -> dict[Any, Tally]:
    """Value of a column → the totals of the rows that have it, of every day that has a part of the span."""
    asked = select(*(table.c[name] for name in (column, "side", "fills", *_SUMS))).order_by(table.c[column])
    rows = await connection.execute(asked.where(*day_conditions(table, account, wanted)))
    return {key: _sum_of(tuple(found)) for key, found in groupby(rows, itemgetter(0))}


def _sum_of(rows: Sequence[Any]) -> Tally:
    """The sum of rows (key, side, fills, sums), column by column: rows of 100 symbols are thousands."""
    _, sides, counts, *columns = zip(*rows, strict=True)
    buys = sum(count for side, count in zip(sides, counts, strict=True) if side == Side.BUY.value)
    with exact():
        sums = {name: sum(column) for name, column in zip(_SUMS, columns, strict=True)}
    return Tally(buys=buys, sells=sum(counts) - buys, **sums)


async def _tally_of_part(connection: AsyncConnection, account: str, wanted: FillFilter) -> Tally:
    """The sum of the fills and rounds of a part of a day."""
    asked: Select[Any] = select(_FILLS.side, _FILLS.quote, _FILLS.fee_quote, _FILLS.profit)
    fills = (await connection.execute(asked.where(*conditions(account, wanted)))).all()
    rounds = [] if wanted.side is Side.BUY else await _rounds(connection, account, wanted)
    buys = sum(side == Side.BUY.value for side, *_ in fills)
    won = [profit for profit, _ in rounds if profit > 0]
    with exact():
        return Tally(
            buys=buys,
            sells=len(fills) - buys,
            volume=sum((quote for _, quote, _, _ in fills), ZERO),
            fees=sum((fee for _, _, fee, _ in fills), ZERO),
            profit=sum((profit for _, _, _, profit in fills), ZERO),
            rounds=len(rounds),
            wins=len(won),
            won=sum(won, ZERO),
            lost=-sum((profit for profit, _ in rounds if profit < 0), ZERO),
            held_ms=sum(held_ms for _, held_ms in rounds),
        )


async def _rounds(connection: AsyncConnection, account: str, wanted: FillFilter) -> list[Any]:
    of_span = [_ROUNDS.account == account, _ROUNDS.closed_ms >= wanted.from_ms, _ROUNDS.closed_ms < wanted.to_ms]
    of_span += [_ROUNDS.symbol == wanted.symbol] if wanted.symbol is not None else []
    return list((await connection.execute(select(_ROUNDS.profit, _ROUNDS.held_ms).where(*of_span))).all())
