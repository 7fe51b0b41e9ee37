"""The history at the end of a fault run: what the archiver makes of the outbox, against the exchange's own record."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, func, select

from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.history import tables
from tasks.history.archiver import Archiver
from tasks.history.database import Database
from tests.support.binance.record import Record
from tests.support.own_loop import in_own_loop


def check_history(socket: Path, account: str, record: Record, unshown: Collection[str]) -> None:
    """Raise AssertionError unless every trade of the record is in the table exactly once, and no other one.

    Trades of `unshown` symbols may be missing: it is no longer listed, or Redis lost all records of it.

    The archiver runs in a thread and a loop of its own, in real time.
    """
    fills = in_own_loop(_archived(socket, account))
    booked = Counter((symbol.replace("/", ""), name) for symbol, name in fills if ":" not in name)
    traded = Counter((trade.symbol, str(trade.trade_id)) for trade in record.trades)
    gone = {symbol.replace("/", "") for symbol in unshown}
    lacking = {trade for trade in traded - booked if trade[0] not in gone}
    assert not lacking, f"the history lacks {lacking}"
    assert not booked - traded, f"the history has too much: {booked - traded}"


async def _archived(socket: Path, account: str) -> list[tuple[str, str]]:
    redis, database = connect(f"unix://{socket}"), _database(socket.parent)
    archiver = Archiver(redis, Keys(account), database, 256)
    try:
        assert await archiver.drain(30) == 0, "records were left in Redis"
        fills = tables.FILLS.c
        async with database.connection() as connection:
            rows = (await connection.execute(select(fills.symbol, fills.trade_id))).all()
            counted = (await connection.execute(select(func.sum(tables.DAYS.c.fills)))).scalar()
            unread = (await connection.execute(select(tables.UNREADABLE))).all()
        assert counted in (len(rows), None), "the totals of the days count other fills"
        assert unread == [], unread
        return [(str(symbol), str(name)) for symbol, name in rows]
    finally:
        await archiver.close()
        await redis.aclose()


def _database(folder: Path) -> Database:
    return Database(URL.create("sqlite+aiosqlite", database=str(folder / f"{uuid4().hex}.db")))
