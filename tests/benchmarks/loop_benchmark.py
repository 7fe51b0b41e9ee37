"""How long audit and status block the trading loop: `uv run python -m tests.benchmarks.loop_benchmark [--json] [N …]`.

Each of N symbols has a grid of 20 cells on the paper exchange and 5,000 booked fills. While the audit and the status
run, all symbols tick in the same loop. A block is the time from one turn of the loop to the next: wall time, and the
CPU time of the loop's thread, which other load on the machine does not change. Compared are the worst blocks.
"""

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import uvloop

from tasks.base.cancelling import cancel_and_wait
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.models import Side, Trade
from tasks.ledger.booking import book_fill
from tasks.ledger.models import Book
from tasks.ledger.steps import watch_drift
from tasks.tick.trader import GridTrader
from tasks.views.steps import read_status
from tests.support.desk import START_MS, TestDesk, open_desk, settings, walk
from tests.support.grids import grid_and_cells, market
from tests.support.servers import redis_server

CELLS = 20
FILLS = 5000
SYMBOL = "C00/USDT"
COUNTS = (3, 10, 30, 100)
ROUNDS = 3
MOST_MS = 50.0


class Turns:
    """Looks at every turn of the loop while the block runs. Worst times in seconds."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    async def __aenter__(self) -> "Turns":
        self._looking = asyncio.create_task(self._look())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait([self._looking])

    async def _look(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            self.wall = max(self.wall, time.perf_counter() - wall)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


async def traded_desk(redis: RedisClient, count: int) -> tuple[TestDesk, list[GridTrader]]:
    """A desk whose symbols have traded and hold lots."""
    names = [f"C{number:02}/USDT" for number in range(count)]
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": CELLS, "start": "balanced"}
    own = settings(
        account=f"loop-{count}",
        symbols=dict.fromkeys(names, grid),
        total_funds=str(10_000 * count),
        trading={"lease_seconds": 120},
    )
    candles = {name: walk(10, seed=number, step_bp=60) for number, name in enumerate(names)}
    desk = await open_desk(redis, own, candles)
    traders = [await desk.trader(name) for name in names]
    for _ in range(2):
        for trader in traders:
            await trader.tick()
        await desk.exchange.advance(1)
    for trader in traders:
        await trader.tick()
        await lengthen(redis, desk.desk.keys, trader.symbol)
    return desk, traders


async def lengthen(redis: RedisClient, keys: Keys, symbol: str) -> None:
    """Give the symbol a history of FILLS fills before its own: bought and sold at cost."""
    book = Book.model_validate_json(await redis.get(keys.book(symbol)) or "")
    older = [text.replace(SYMBOL, symbol) for text in older_fills(FILLS - book.buys - book.sells)]
    await redis.rpush(keys.newest_fills(symbol), *older)
    longer = book.model_copy(update={"buys": book.buys + len(older) // 2, "sells": book.sells + len(older) // 2})
    await redis.set(keys.book(symbol), longer.model_dump_json())


@cache
def older_fills(count: int) -> list[str]:
    """Records of about so many fills of SYMBOL, newest first, whose sum is 0."""
    listed, cell = market(symbol=SYMBOL, base="C00"), grid_and_cells()[1][0]
    one = Trade(
        trade_id="1",
        exchange_id="1",
        symbol=SYMBOL,
        side=Side.BUY,
        price=Decimal(40_000),
        qty=Decimal("0.01"),
        fee=Decimal("0.4"),
        fee_currency="USDT",
        maker=True,
        at_ms=START_MS,
    )
    book, texts = Book(symbol=SYMBOL), list[str]()
    for number in range(count // 2 * 2):
        side = Side.SELL if number % 2 else Side.BUY
        trade = one.model_copy(update={"side": side, "trade_id": f"old-{number}"})
        book, cell, fill = book_fill(book, cell, trade, f"old-{number}", listed)
        texts.append(fill.model_dump_json())
    return texts[::-1]


async def tick_for_ever(traders: Sequence[GridTrader]) -> None:
    """As windows do: one symbol after another."""
    while True:
        for trader in traders:
            await trader.tick()


async def blocks(work: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Worst blocks while `work` runs, and how long it takes, in ms."""
    gc.collect()
    began = time.perf_counter()
    async with Turns() as turns:
        for _ in range(ROUNDS):
            await work()
    took = (time.perf_counter() - began) / ROUNDS
    return {"wall_ms": turns.wall * 1000, "cpu_ms": turns.cpu * 1000, "takes_ms": took * 1000}


async def measure(redis: RedisClient, count: int) -> dict[str, dict[str, float]]:
    """By what runs beside the ticks: nothing, the status, the audit."""
    desk, traders = await traded_desk(redis, count)
    own, keys, names = desk.desk.settings, desk.desk.keys, list(desk.desk.settings.symbols)
    assert not (await watch_drift(redis, keys, names)).drift
    works: dict[str, Callable[[], Awaitable[Any]]] = {
        "ticks alone": lambda: asyncio.sleep(0.5),
        "status": lambda: read_status(own, redis),
        "audit": lambda: watch_drift(redis, keys, names),
    }
    ticking = asyncio.create_task(tick_for_ever(traders))
    found = {name: await blocks(work) for name, work in works.items()}
    await cancel_and_wait([ticking])
    await desk.close()
    return found


async def run(counts: Sequence[int]) -> dict[int, dict[str, dict[str, float]]]:
    """Results by number of symbols."""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        redis = connect(url)
        try:
            return {count: await measure(redis, count) for count in counts}
        finally:
            await redis.aclose()


def main() -> None:
    """Print the table, or JSON; exit code 1 where a block of the loop's own CPU time was longer than allowed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("counts", nargs="*", type=int, metavar="N", help="numbers of symbols")
    options = parser.parse_args()
    results = uvloop.run(run(options.counts or COUNTS))
    if options.json:
        print(json.dumps(results))
    else:
        print(
            "| symbols | beside the ticks | worst block (ms) | of CPU time (ms) | takes (ms) |\n|---|---|---|---|---|"
        )
        for count, works in results.items():
            for name, one in works.items():
                print(f"| {count} | {name} | {one['wall_ms']:.1f} | {one['cpu_ms']:.1f} | {one['takes_ms']:.0f} |")
    worst = max(one["cpu_ms"] for works in results.values() for one in works.values())
    if worst > MOST_MS:
        raise SystemExit(f"worst block: {worst:.1f} ms of CPU time, above {MOST_MS:.0f}")


if __name__ == "__main__":
    main()
