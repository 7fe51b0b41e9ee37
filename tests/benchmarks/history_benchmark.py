"""What the history costs: `python -m tests.benchmarks.history_benchmark [FILLS]`, on SQLite and PostgreSQL.

FILLS (default 1,000,000) over 10 symbols and two years, written as the archiver writes them; then each question of the
screens, many times.
"""

import asyncio
import random
import statistics as naive
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.base.clock import DAY_MS
from tasks.base.outbox import Record
from tasks.exchange.models import Side
from tasks.history import queries
from tasks.history.curves import equity_curve
from tasks.history.database import Database
from tasks.history.outbox import MOST_RECORDS
from tasks.history.queries import FillFilter
from tasks.history.rows import Batch, batch_of
from tasks.history.store import claim, write
from tasks.history.tallies import tally_of
from tests.support.history import file_database, new_database, postgres_server
from tests.support.many_fills import many_fills

SYMBOLS = [f"{letter}{letter}/USDT" for letter in "ABCDEFGHIJ"]
START_MS, SPAN_MS = 1_700_000_000_000, 730 * DAY_MS
PAGE = 50
TIMES = 60


async def write_all(database: Database, count: int) -> tuple[float, float]:
    """Fills a second, and µs of this process's CPU for each.

    Everything that the archiver does once it has read the records from Redis.
    """
    fills, took, cpu = many_fills(count, SYMBOLS, START_MS, SPAN_MS), 0.0, 0.0
    while texts := [fill.model_dump_json() for fill in islice(fills, MOST_RECORDS)]:
        records = [Record(f"{number}-0", "fill", text) for number, text in enumerate(texts)]
        begun, cpu_before = time.perf_counter(), time.process_time()
        batch = batch_of(records)
        async with database.begin() as connection:
            await claim(connection, "main", 1, 1)
            await write(connection, "main", batch)
        took, cpu = took + time.perf_counter() - begun, cpu + time.process_time() - cpu_before
    return count / took, cpu / count * 1e6


async def write_curve(database: Database) -> None:
    """An hour's points for two years, as the roll-up keeps them."""
    points = [
        {
            "symbol": "",
            "at_ms": at_ms,
            "worth": random.Random(at_ms).randint(900, 1100),
            "grid_profit": 1,
            "capital": 1000,
        }
        | {"price": None}
        for at_ms in range(START_MS, START_MS + SPAN_MS, 1_800_000)
    ]
    for first in range(0, len(points), 5000):
        async with database.begin() as connection:
            await write(connection, "main", Batch(points=points[first : first + 5000]))


async def p95(
    database: Database, ask: Callable[[AsyncConnection], Awaitable[object]], times: int = TIMES
) -> tuple[float, float]:
    """The 95th percentile of the time to answer, and the mean of this process's CPU, in ms."""
    took, cpu = [], time.process_time()
    async with database.connection() as connection:
        for _ in range(times):
            begun = time.perf_counter()
            await ask(connection)
            took.append((time.perf_counter() - begun) * 1000)
    most = sorted(took)[int(len(took) * 0.95)] if len(took) > 2 else naive.mean(took)
    return most, (time.process_time() - cpu) * 1000 / times


async def measure(kind: str, url: URL, count: int) -> None:
    """Write, ask, print."""
    database, rng = Database(url), random.Random(1)
    await database.open()
    speed, cpu = await write_all(database, count)
    print(f"{kind}: archiver {speed:,.0f} fills/s, {cpu:.0f} µs CPU each", flush=True)
    await write_curve(database)

    def moment() -> int:
        return START_MS + rng.randrange(SPAN_MS)

    def some() -> FillFilter:
        return FillFilter(symbol=rng.choice([None, *SYMBOLS]), side=rng.choice([None, *Side]))

    def spans() -> FillFilter:
        start = moment()
        return some().model_copy(update={"from_ms": start, "to_ms": start + rng.randrange(90 * DAY_MS)})

    def page(connection: AsyncConnection, *, newer: bool) -> Awaitable[object]:
        place = queries.Cursor(moment(), "EE/USDT", "5")
        around = {"newer_than": place} if newer else {"older_than": place}
        return queries.fills_page(connection, "main", some(), PAGE, **around)

    async def filtered(connection: AsyncConnection) -> None:
        wanted = spans()
        await queries.count_fills(connection, "main", wanted)
        await queries.fills_page(connection, "main", wanted, PAGE)

    async def jump(connection: AsyncConnection) -> None:
        await queries.fills_at(connection, "main", FillFilter(), PAGE, rng.randrange(count))

    async def month(connection: AsyncConnection) -> None:
        start = moment()
        await tally_of(connection, "main", FillFilter(from_ms=start, to_ms=start + 30 * DAY_MS))

    async def everything(connection: AsyncConnection) -> None:
        await tally_of(connection, "main", FillFilter(from_ms=START_MS + 5, to_ms=START_MS + SPAN_MS))

    async def curve(connection: AsyncConnection) -> None:
        await equity_curve(connection, "main", START_MS, START_MS + SPAN_MS, 2000)

    questions: list[tuple[str, Callable[[AsyncConnection], Awaitable[object]], int]] = [
        ("next page", lambda connection: page(connection, newer=False), TIMES),
        ("previous page", lambda connection: page(connection, newer=True), TIMES),
        ("jump to a page", jump, TIMES),
        ("filter: total and first page", filtered, TIMES),
        ("statistics of a month", month, 20),
        ("statistics of all", everything, 3),
        ("equity curve of two years", curve, 10),
    ]
    for name, ask, times in questions:
        most, cpu = await p95(database, ask, times)
        print(f"{kind}: {name}, p95 {most:.1f} ms, CPU {cpu:.1f} ms", flush=True)
    await database.close()


async def main(count: int) -> None:
    """Both databases, one after the other."""
    with TemporaryDirectory(prefix="gridflow-") as name:
        await measure("SQLite", file_database(Path(name)), count)
        with postgres_server(Path(name) / "postgres") as server:
            await measure("PostgreSQL", await new_database(server), count)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
