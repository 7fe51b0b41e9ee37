"""Redis is lost at the end of a month of trading: the books come back from the history, to the last digit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, func, select

from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.history import tables
from tasks.history.archiver import Archiver
from tasks.history.database import Database
from tasks.orders.rules import TRADE_OVERLAP_MS
from tasks.tick.comparing import compare_books
from tasks.tick.recover import open_books
from tasks.tick.trading_mode import mode_of
from tests.support.binance.desk import BinanceDesk
from tests.support.own_loop import in_own_loop
from tests.support.views import shown
from tests.support.virtual.desk import VirtualWorld


async def lose_redis(world: VirtualWorld, desk: BinanceDesk) -> BinanceDesk:
    """FLUSHALL, then another worker that opens the books; that worker's desk.

    Raises AssertionError unless the status is the same as before, and no request to the exchange was for a time before
    the last archived fill less the overlap.
    """
    socket, redis, own = world.redis.path, desk.desk.redis, world.settings
    last_ms = in_own_loop(_archive(socket, own.account))
    before, asked = await shown(redis, own), len((await desk.server.record()).requests)
    await redis.flushall()
    again = world.worker()

    async def recover() -> bool:
        return in_own_loop(_recover(socket, own.account, mode_of(own)))

    again.desk.recover = recover
    again.desk.markets.add(await again.client.markets(list(own.symbols)))
    await open_books(again.desk, again.desk.markets.known, "again")
    await compare_books(again.desk)
    now = await shown(again.desk.redis, own)
    assert now == before, {name: (before.get(name), value) for name, value in now.items() if before.get(name) != value}
    requests = (await desk.server.record()).requests[asked:]
    since = [int(row.params["startTime"]) for row in requests if "startTime" in row.params]
    assert since
    assert min(since) >= last_ms - TRADE_OVERLAP_MS
    assert not [row.path for row in requests if "allOrders" in row.path]
    return again


@asynccontextmanager
async def _archiver(socket: Path, account: str) -> AsyncIterator[tuple[Archiver, Database]]:
    database = Database(URL.create("sqlite+aiosqlite", database=str(socket.parent / "history.db")))
    redis = connect(f"unix://{socket}")
    archiver = Archiver(redis, Keys(account), database, 256)
    try:
        yield archiver, database
    finally:
        await archiver.close()
        await redis.aclose()


async def _archive(socket: Path, account: str) -> int:
    """Move every record to the history; the time of the last fill in it, in ms."""
    async with _archiver(socket, account) as (archiver, database):
        assert await archiver.drain(60) == 0, "records were left in Redis"
        async with database.connection() as connection:
            return int((await connection.execute(select(func.max(tables.FILLS.c.at_ms)))).scalar_one())


async def _recover(socket: Path, account: str, mode: str) -> bool:
    async with _archiver(socket, account) as (archiver, _):
        return await archiver.recover(mode)
