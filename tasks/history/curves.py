"""The equity curve of any span: minutes for a few days, else the extremes of hours."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, Text, and_, cast, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.clock import DAY_MS
from tasks.history import tables
from tasks.history.rows import HOUR_MS
from tasks.history.thinning import extremes, parts_of, thinned
from tasks.ledger.statistics import CurvePoint

_MINUTES_SPAN_MS = 3 * DAY_MS  # a longer curve is made of hours


async def equity_curve(
    connection: AsyncConnection, account: str, start_ms: int, end_ms: int, points: int, symbol: str = ""
) -> list[CurvePoint]:
    """At most about `points` points, oldest first, from the last one before `start_ms` on.

    Minutes for a few days, else the extremes of hours. Thinned so that the highest and lowest stay. `symbol` '': the
    account's equity; else the symbol's equity change.
    """
    equity, hours = tables.EQUITY.c, tables.EQUITY_HOURS.c
    own = and_(equity.account == account, equity.symbol == symbol)
    names = (equity.at_ms, *map(_as_text, (equity.worth, equity.capital, equity.grid_profit)))
    before = select(*names).where(own, equity.at_ms < start_ms).order_by(equity.at_ms.desc()).limit(1)
    found: list[tuple[int, str, str, str]] = [(*row,) for row in await connection.execute(before)]
    if end_ms - start_ms > _MINUTES_SPAN_MS:
        own = and_(hours.account == account, hours.symbol == symbol)
        span = and_(hours.hour_ms >= start_ms // HOUR_MS * HOUR_MS, hours.hour_ms < end_ms)
        found += [  # the first hour may have begun before the span
            (max(at_ms, start_ms), worth, capital, profit)
            for at_ms, worth, capital, profit in await _hours_curve(connection, own & span, points)
        ]
        return [_curve_point(*point) for point in found]
    inside = select(*names).where(own, equity.at_ms >= start_ms, equity.at_ms < end_ms).order_by(equity.at_ms)
    found += [(*row,) for row in await connection.execute(inside)]
    kept = thinned([float(worth) for _, worth, *_ in found], points)  # floats choose points; amounts stay exact
    return [_curve_point(*found[place]) for place in kept]


async def _hours_curve(
    connection: AsyncConnection, wanted: ColumnElement[bool], points: int
) -> list[tuple[int, str, str, str]]:
    """Low, high and last of each hour; of many hours the extremes of equal parts, and the very last.

    The bounds of all hours come as three texts, as rows would take most of the time; then the hours that are shown.
    """
    hours = tables.EQUITY_HOURS.c
    starts, lows, highs = await _bounds(connection, wanted)
    found: list[tuple[int, str, str, str]] = []
    if 3 * len(starts) <= points:
        for hour_ms, lowest, highest, last_ms, last, *rest in await _whole_hours(connection, wanted):
            found += [(hour_ms, lowest, *rest), (hour_ms + 1, highest, *rest), (last_ms, last, *rest)]
        return found
    chosen = [(starts[position], is_high) for position, is_high in extremes(lows, highs, parts_of(points))]
    shown = {hour_ms for hour_ms, _ in chosen} | {starts[-1]}
    whole = {row[0]: row for row in await _whole_hours(connection, wanted & hours.hour_ms.in_(shown))}
    for at_ms, is_high in chosen:
        hour_ms, lowest, highest, _, _, *rest = whole[at_ms]
        found.append((hour_ms + 1, highest, *rest) if is_high else (hour_ms, lowest, *rest))
    *_, last_ms, last, capital, grid_profit = whole[starts[-1]]
    return [*found, (last_ms, last, capital, grid_profit)]


async def _bounds(
    connection: AsyncConnection, wanted: ColumnElement[bool]
) -> tuple[list[int], list[float], list[float]]:
    """Start, lowest and highest of hours, oldest first. Floats only choose hours; what is shown is read exactly."""
    hours = tables.EQUITY_HOURS.c
    as_list = func.json_group_array if connection.dialect.name == "sqlite" else func.json_agg
    columns = (hours.hour_ms, *(cast(_as_text(column), Float) for column in (hours.lowest, hours.highest)))
    texts = (await connection.execute(select(*(cast(as_list(column), Text) for column in columns)).where(wanted))).one()
    starts, lows, highs = (json.loads(text or "[]") for text in texts)
    order = sorted(range(len(starts)), key=starts.__getitem__)
    return [starts[place] for place in order], [lows[place] for place in order], [highs[place] for place in order]


async def _whole_hours(connection: AsyncConnection, wanted: ColumnElement[bool]) -> Sequence[Any]:
    """Hour, lowest, highest, time of the last, last, capital and grid profit of hours, oldest first."""
    hours = tables.EQUITY_HOURS.c
    amounts = (hours.lowest, hours.highest, hours.last, hours.capital, hours.grid_profit)
    lowest, highest, last, *rest = map(_as_text, amounts)
    asked: Select[Any] = select(hours.hour_ms, lowest, highest, hours.last_ms, last, *rest).where(wanted)
    rows: Sequence[Any] = (await connection.execute(asked.order_by(hours.hour_ms))).all()
    return rows


def _curve_point(at_ms: int, worth: str, capital: str, grid_profit: str) -> CurvePoint:
    return CurvePoint(at_ms, Decimal(worth), Decimal(capital), Decimal(grid_profit))


def _as_text(column: ColumnElement[Decimal]) -> ColumnElement[str]:
    """The stored text of an amount: most points of a curve are left out, so they are not converted."""
    return type_coerce(column, Text)
