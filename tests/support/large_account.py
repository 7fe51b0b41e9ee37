"""An account of many symbols with a long history, made quickly: records as ticks and the archiver write them."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tasks.base.clock import DAY_MS, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.outbox import Record
from tasks.base.redis_client import RedisClient, connect
from tasks.funds.allocator import GlobalFundAllocator
from tasks.grid.models import Cell, CellState, Grid
from tasks.history.database import Database, history_url
from tasks.history.rows import Batch, batch_of
from tasks.history.store import claim, write
from tasks.ledger.models import Book
from tasks.settings.model import Settings
from tasks.tick.models import TickReport
from tests.support.many_fills import many_fills

CELLS = 20
_DAY_FILLS = 1000  # of the day that the others are copies of


def settings(symbols: int, redis_url: str) -> Settings:
    """An account of that many symbols."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": CELLS}
    names = {f"S{place:03}/USDT": grid for place in range(symbols)}
    return Settings.model_validate({"symbols": names, "redis_url": redis_url, "total_funds": "1000000"})


async def fill_redis(own: Settings) -> None:
    """What ticks of every symbol leave behind."""
    assert own.redis_url is not None
    redis = connect(own.redis_url.get_secret_value())
    try:
        await GlobalFundAllocator.from_settings(own, redis).rebalance_if_needed(force=True)
        for symbol in own.symbols:
            await _symbol(redis, Keys(own.account), symbol)
    finally:
        await redis.aclose()


async def _symbol(redis: RedisClient, keys: Keys, symbol: str) -> None:
    now = to_ms(utc_now())
    levels = tuple(Decimal(90 + place) for place in range(CELLS + 1))
    grid = Grid(
        grid_id="g", symbol=symbol, levels=levels, first_price=Decimal(100), created_ms=now, tick_size=Decimal("0.01")
    )
    cells = [
        Cell(
            key=f"g:{place}",
            grid_id="g",
            index=place,
            buy_price=levels[place],
            sell_price=levels[place + 1],
            state=CellState.BUYING if place < CELLS // 2 else CellState.IDLE,
        )
        for place in range(CELLS)
    ]
    idle = {cell.key: "ABOVE_PRICE" for cell in cells if cell.state is CellState.IDLE}
    samples = tuple((now - 2000 * place, Decimal(100 + place % 3)) for place in reversed(range(30)))
    tick: dict[str, Any] = {"symbol": symbol, "at_ms": now, "duration_ms": 12, "fence": 1, "price": Decimal(100)}
    tick |= {"fills": 0, "placed": 0, "cancelled": 0, "idle": idle, "samples": samples, "next_in": Decimal(5)}
    async with redis.pipeline(transaction=False) as pipe:
        pipe.set(keys.grid(symbol), grid.model_dump_json())
        pipe.hset(keys.cells(symbol), mapping={cell.key: cell.model_dump_json() for cell in cells})
        pipe.set(keys.book(symbol), Book(symbol=symbol).model_dump_json())
        pipe.set(keys.last_tick(symbol), TickReport(**tick).model_dump_json())
        await pipe.execute()


async def fill_history(own: Settings, state: Path, fills: int) -> None:
    """`fills` fills: a day as the archiver writes it, and copies of it on the days before; an equity curve by hours."""
    database = Database(history_url(own, state))
    today = to_ms(utc_now()) // DAY_MS * DAY_MS
    try:
        await database.open()
        day = list(many_fills(_DAY_FILLS, list(own.symbols), today - DAY_MS, DAY_MS))
        records = [Record(f"{place}-0", "fill", one.model_dump_json()) for place, one in enumerate(day)]
        async with database.begin() as connection:
            await claim(connection, own.account, 1, 1)
            await write(connection, own.account, batch_of(records))
            await write(connection, own.account, Batch(points=_points(list(own.symbols)[:3], today)))
            for statement in _copies(fills // _DAY_FILLS - 1):
                await connection.execute(text(statement))
    finally:
        await database.close()


def _points(symbols: Sequence[str], today: int) -> list[dict[str, Any]]:
    """Equity of thirty days by the half hour, and prices of some symbols."""
    names = ("", *symbols)
    return [
        {"symbol": name, "at_ms": at_ms, "worth": 1_000_000 + at_ms % 977, "grid_profit": 5, "capital": 1_000_000}
        | {"price": 100 + at_ms // 1_800_000 % 5 if name else None}
        for at_ms in range(today - 30 * DAY_MS, today, 1_800_000)
        for name in names
    ]


def _copies(days: int) -> list[str]:
    """Statements that copy the fills, rounds and totals of the day to the days before it."""
    back = f"WITH RECURSIVE back(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM back WHERE n < {days})"
    fills = (
        "account, symbol, {id}, client_id, cell_key, side, price, qty, quote, fee, fee_currency, fee_quote, maker, "
        "{at}, basis, profit, filled_basis"
    )
    totals = "account, {symbol}side, {day}, fills, volume, fees, profit, rounds, wins, won, lost, held_ms"
    copies = [
        (
            "fills",
            fills.format(id="trade_id", at="at_ms"),
            fills.format(id="trade_id || '-' || n", at=f"at_ms - n * {DAY_MS}"),
        ),
        *(
            (name, totals.format(symbol=symbol, day="day"), totals.format(symbol=symbol, day="day - n"))
            for name, symbol in (("days", "symbol, "), ("account_days", ""))
        ),
    ]
    return [
        f"INSERT INTO gridflow_{name} ({columns}) {back} SELECT {values} FROM gridflow_{name}, back"
        for name, columns, values in copies
        if days > 0
    ]
