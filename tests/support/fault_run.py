"""One seeded scenario: whole grids over real candles, on a Binance-like exchange with faults, by workers that die.

Meanwhile an operator changes the settings and rebalances (`tests.support.fault_events`). The seed decides everything:
the scene, changes, manual cancels, kills, faults and the duration of every request, and so the order of events that
happen at the same time. It plays in virtual time (`tests.support.virtual`), with a live worker's own settings, and
replays exactly on any machine: `python -m tests.support.fault_run FIRST LAST` plays those seeds and prints a line for
each.
"""

import asyncio
import gc
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import cast

from tasks.base.keys import Keys
from tests.support.fault_capital import with_reinvest
from tests.support.fault_draw import SYMBOLS, draw_scene, geometry
from tests.support.fault_kinds import with_earnings, with_moving_grids
from tests.support.fault_play import Outcome, Play
from tests.support.fault_rules import with_rules
from tests.support.fault_swarm import Swarm, Trouble
from tests.support.several_grids import with_several_grids
from tests.support.virtual.desk import VirtualWorld, in_world
from tests.support.virtual.loop import Standstill, run_virtually
from tests.support.virtual.pot_watch import PotWatch
from tests.support.virtual.redis import VirtualRedis, virtual_redis

LONGEST = 4 * 3600.0  # virtual seconds
_SEVERAL = 0.25  # of the scenarios have symbols with several grids


class Wrong(Exception):
    """A failed scenario. The message says what is wrong, and where the exchange's record is stored."""


def play(seed: int, world: VirtualRedis, folder: Path) -> Outcome:
    """Play the scenario and compare the books with the exchange's own record.

    Raises Wrong, and stores the exchange's record, if something is wrong.
    """
    try:
        return run_virtually(lambda: asyncio.wait_for(_play(seed, world, folder), LONGEST), seed)
    except (Standstill, TimeoutError) as error:
        raise Wrong(
            f"every task waits, or the scenario still runs after {LONGEST:.0f} s: {type(error).__name__}"
        ) from error


async def _play(seed: int, redis: VirtualRedis, folder: Path) -> Outcome:
    rng, swarm = random.Random(seed), Swarm.drawn(seed)
    scene = draw_scene(rng, seed, coin_fees=Trouble.COIN_FEES in swarm.rates)

    if Trouble.MOVING in swarm.rates:
        scene = replace(scene, settings=with_moving_grids(scene.settings, random.Random(f"moving grids {seed}")))
    if Trouble.EARNING in swarm.rates:
        scene = replace(scene, settings=with_earnings(scene.settings, random.Random(f"earned {seed}")))
    several = random.Random(f"several grids {seed}")
    if several.random() < _SEVERAL:
        found = with_several_grids(scene.settings, several, lambda _: geometry(several), 0.7)
        scene = replace(scene, settings=found)
    if Trouble.INVESTED in swarm.rates:
        scene = replace(scene, settings=with_reinvest(scene.settings, random.Random(f"reinvest {seed}")))
    if Trouble.RULES in swarm.rates:
        scene = replace(scene, settings=with_rules(scene.settings, random.Random(f"drawn rules {seed}")))

    async def work(world: VirtualWorld) -> Outcome:
        watch = PotWatch(str(redis.path), Keys(scene.settings.account), SYMBOLS)
        redis.after_script, redis.on_restart = watch, watch.forget
        try:
            return await Play(scene, world, rng, watch, swarm).to_the_end(seed)
        except Exception as error:
            kept = Path(gettempdir()) / f"gridflow-seed-{seed}-{os.getpid()}.json"
            kept.write_text((await world.exchange.server.record()).model_dump_json(indent=1), encoding="utf-8")
            raise Wrong(f"{_error_text(error)}; the exchange's record: {kept}") from error
        finally:
            redis.after_script = redis.on_restart = None
            watch.close()

    return cast(Outcome, await in_world(scene.settings, scene.candles, scene.exchange, redis, folder, seed, work))


def _error_text(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"


@contextmanager
def stage() -> Iterator[Callable[[int], Outcome]]:
    """Start a Redis server for several scenarios. Yields the function that plays a seed."""
    gc.freeze()  # the collector skips the objects that exist already
    try:
        with TemporaryDirectory(prefix="gridflow-") as name, virtual_redis(Path(name)) as world:
            yield lambda seed: play(seed, world, Path(name))
    finally:
        gc.unfreeze()


def main(first: int, last: int) -> int:
    """Play the seeds and print each outcome as a line of JSON. Returns 1 if any failed."""
    logging.disable(logging.CRITICAL)
    wrong = 0
    with stage() as play_seed:
        for seed in range(first, last + 1):
            try:
                print(dumps(asdict(play_seed(seed))), flush=True)
            except Wrong as error:
                wrong += 1
                print(dumps({"seed": seed, "wrong": str(error)}), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[-1])))
