"""What a tick costs, in one run: `uv run python -m tests.benchmarks.tick_benchmark [--json]`.

Measured is this process's CPU time: of an idle tick, of a tick that books a fill and places the next order, and of an
empty script (one round trip to Redis through the same client). Each symbol has a grid of 20 cells on the paper
exchange. The server's own CPU time is not counted. Compared are medians; the ratio is the tick against the round trip.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import uvloop

from tasks.base.redis_client import RedisClient, connect
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tests.support.desk import TestDesk, open_desk, settings, walk
from tests.support.servers import redis_server

CELLS = 20
ROUNDS = 400
WARM_UP = 50
CANDLES = 700
COUNTS = (1, 10)


async def cpu_of(work: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds that `work` takes in this process."""
    before = time.process_time()
    await work()
    return time.process_time() - before


async def open_symbols(redis: RedisClient, count: int) -> tuple[TestDesk, list[GridTrader]]:
    """A desk with so many symbols, each on a random walk of its own."""
    names = [f"C{number:02}/USDT" for number in range(count)]
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": CELLS, "start": "balanced"}
    own = settings(
        account=f"bench-{count}",
        symbols=dict.fromkeys(names, grid),
        total_funds=str(10_000 * count),
        trading={"lease_seconds": 120},
    )
    candles = {name: walk(CANDLES, seed=number) for number, name in enumerate(names)}
    desk = await open_desk(redis, own, candles)
    return desk, [await desk.trader(name) for name in names]


async def measure(redis: RedisClient, count: int) -> dict[str, float]:
    """Median CPU milliseconds of an empty round trip, an idle tick and a tick with a fill."""
    desk, traders = await open_symbols(redis, count)
    empty = redis.register_script("return 0")
    costs: dict[str, list[float]] = {"round_trip": [], "idle": [], "fill": []}
    for number in range(WARM_UP + ROUNDS):
        trader = traders[number % count]
        reports: list[TickReport] = []

        async def tick(trader: GridTrader = trader, reports: list[TickReport] = reports) -> None:
            reports.append(await trader.tick())

        if number % count == 0:
            await desk.exchange.advance(1)
        first = await cpu_of(tick)
        while reports[-1].placed or reports[-1].fills:
            await tick()
        second = await cpu_of(tick)
        if number >= WARM_UP:
            costs["round_trip"].append(await cpu_of(empty))
            costs["idle"].append(second)
            if reports[0].fills:
                costs["fill"].append(first)
    await desk.close()
    return {name: round(median(each) * 1000, 3) for name, each in costs.items()}


async def run(url: str) -> dict[str, dict[str, float]]:
    """The measurements by number of symbols."""
    redis = connect(url)
    try:
        return {str(count): await measure(redis, count) for count in COUNTS}
    finally:
        await redis.aclose()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        found = uvloop.run(run(url))
    if as_json:
        print(json.dumps(found))
        return
    for count, cost in found.items():
        print(f"{count:>3} symbols: empty round trip {cost['round_trip']:.3f} ms of CPU")
        for kind in ("idle", "fill"):
            print(f"     {kind:5} tick {cost[kind]:6.3f} ms, {cost[kind] / cost['round_trip']:5.1f} × the round trip")


if __name__ == "__main__":
    main()
