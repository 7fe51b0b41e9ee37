"""One seeded scenario: a whole grid over real candles, on a Binance-like exchange that misbehaves, by workers that die.

The seed decides everything: the scene, meddling, kills, faults, how long every request is on its way, and so which of
two things that happen at once comes first. It plays in virtual time (`tests.support.virtual`), with a live worker's own
settings, and replays exactly on any machine: `python -m tests.support.fault_run FIRST LAST` plays those seeds and
prints a line for each.
Every worker has a Redis connection of its own. In one scenario of three it also has an exchange client of its own,
with the shared readings, the shared rate budget and the circuit breakers around its ticks, as a live worker has.
"""

import asyncio
import gc
import hashlib
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import cast

from tasks.base.errors import GridflowError
from tasks.base.keys import AddressKeys
from tasks.exchange.breakers import Breakers
from tasks.exchange.budget import Budget, allowance_of, attach_budget
from tasks.exchange.shared import SharedReads
from tasks.funds.steps import set_stopped
from tasks.tick.trader import GridTrader
from tasks.tick.window import BreakerOpen, guarded_tick
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.fault_check import Tick, check_books, settle
from tests.support.fault_draw import MOST_PER_STEP, REAL, STEPS, SYMBOL, Scene, draw_scene, plan_of
from tests.support.mortal import Killed, Mortal
from tests.support.redis_contents import contents
from tests.support.virtual.desk import VirtualWorld, in_world
from tests.support.virtual.loop import Standstill, run_virtually
from tests.support.virtual.redis import VirtualRedis, virtual_redis

LONGEST = 4 * 3600.0  # virtual seconds
TICK_SECONDS = 2.0


class Wrong(Exception):
    """A scenario that did not end as it must; says how, and where the exchange's record is kept."""


@dataclass(frozen=True)
class Outcome:
    """What a scenario saw. `digest` stands for every request, order, trade and all that Redis held at the end."""

    seed: int
    faults: dict[str, int]  # kind → how often
    kills: int
    orders: int
    trades: int
    digest: str


def play(seed: int, world: VirtualRedis, folder: Path) -> Outcome:
    """Play the scenario and hold the books against the exchange's own record.

    Raises Wrong, and keeps the record of what went wrong.
    """
    try:
        return run_virtually(lambda: asyncio.wait_for(_play(seed, world, folder), LONGEST), seed)
    except (Standstill, TimeoutError) as error:
        raise Wrong(f"everybody waits, or still moves after {LONGEST:.0f} s: {type(error).__name__}") from error


async def _play(seed: int, redis: VirtualRedis, folder: Path) -> Outcome:
    rng = random.Random(seed)
    scene = draw_scene(rng, seed)

    async def work(world: VirtualWorld) -> Outcome:
        try:
            return await Play(scene, world, rng).to_the_end(seed)
        except Exception as error:
            kept = Path(gettempdir()) / f"gridflow-seed-{seed}-{os.getpid()}.json"
            kept.write_text((await world.exchange.server.record()).model_dump_json(indent=1), encoding="utf-8")
            raise Wrong(f"{_said(error)}; the exchange's record: {kept}") from error

    return cast(Outcome, await in_world(scene.settings, scene.candles, scene.exchange, redis, folder, seed, work))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"


@dataclass
class Play:
    """A scenario under way. Requests of a dead worker may still be under way, so nothing it had open is closed."""

    scene: Scene
    world: VirtualWorld
    rng: random.Random
    kills: int = 0
    running: list[asyncio.Task[None]] = field(default_factory=list)
    desk: BinanceDesk = field(init=False)

    async def to_the_end(self, seed: int) -> Outcome:
        """All of it; the books are held against the exchange's record at the end."""
        server = self.world.exchange.server
        self.desk = self.world.worker()
        await self.desk.desk.allocator.rebalance_if_needed(reason="start")
        await self.desk.client.markets([SYMBOL])
        played = await self.misbehave()
        await server.clear_faults()
        await server.advance(REAL - played)
        await self.go_on()
        after = await server.record()
        await check_books(self.desk, after)
        seen = after.model_dump_json() + await contents(self.desk.desk.redis)
        digest = hashlib.sha256(seen.encode()).hexdigest()
        faults = dict(Counter(fault.kind for fault in after.faults))
        return Outcome(seed, faults, self.kills, len(after.orders), len(after.trades), digest)

    async def misbehave(self) -> int:
        """Tick through faults; some ticks die, at a step or in the middle of any wait; others stand still in one, and
        go on when others have traded on. Candles played.

        Now and then somebody cancels an order on the exchange by hand, or an operator stops trading for a tick.
        """
        rng, server, played, desk = self.rng, self.world.exchange.server, 0, self.desk.desk
        await server.use_plan(rng.randrange(2**31), *plan_of(rng))
        for number in range(STEPS):
            played += await server.advance(rng.randint(5, MOST_PER_STEP))
            fatal = rng.choice(["", "", "", "", "step", "await", "sent", "freeze"])
            meddling = rng.choice(["", "", "", "", "cancel", "stop"])
            if meddling == "cancel":
                await self._cancel_by_hand()
            await set_stopped(desk.settings, desk.redis, meddling == "stop")
            ticking = asyncio.create_task(self._one_tick(f"w{number}", fatal))
            await asyncio.wait({ticking}, timeout=rng.uniform(1, 5) if fatal == "freeze" else None)
            self.running.append(ticking)
            await desk.redis.delete(desk.keys.lease(SYMBOL))  # as if a dead worker's had run out
            await asyncio.sleep(rng.uniform(0, 8))  # less than an order is protected, most times
        await asyncio.gather(*self.running)  # the frozen go on, at the latest now
        await set_stopped(desk.settings, desk.redis, False)
        return played

    async def _cancel_by_hand(self) -> None:
        """An order is gone before its last fill was seen, and the list of trades may be behind."""
        rng, engine = self.rng, self.world.exchange.server.binance.engine
        if engine.open:
            order = engine.open[rng.choice(sorted(engine.open))]
            if rng.random() < 0.5:
                half = (order.left / 2).quantize(Decimal("0.00001"))
                engine.fill(order.order_id, half or order.left)
                await self.world.exchange.server.inject(Fault(kind=FaultKind.STALE, path="myTrades", requests=6))
            if order.now.open:
                engine.cancel(order.symbol, {"orderId": str(order.order_id)})

    async def _one_tick(self, owner: str, fatal: str) -> None:
        left = self.rng.randint(1, 7)

        def checkpoint(step: str) -> None:
            nonlocal left
            left -= 1
            if fatal == "step" and left == 0:
                raise Killed
            if fatal == "sent" and step == "reserved":  # dies while its orders are on their way
                ticking.life, ticking.last_breath = ticking.lived + 1, 0.5

        if fatal == "sent":
            slow = Fault(kind=FaultKind.DELAY_BEFORE, method="POST", path="order", seconds=3)
            await self.world.exchange.server.inject(slow, count=3)
        worker = self._worker()
        try:
            trader = await worker.trader(SYMBOL, owner, checkpoint)
            ticking = Mortal(self._ticks(trader)(), self.rng.randint(1, 40) if fatal == "await" else 0, Killed)
            if fatal == "freeze":
                ticking.freezes = {self.rng.randint(1, 40): self.rng.uniform(5, 40)}
            ticking.last_breath = self.rng.choice([0, self.rng.uniform(0, 0.004), self.rng.uniform(0, 0.08)])
            await ticking
        except Killed:
            self.kills += 1
        except BreakerOpen as closed:
            await asyncio.sleep(closed.wait_seconds)
        except GridflowError:
            return

    def _ticks(self, trader: GridTrader) -> Tick:
        """How this scenario's workers tick."""
        if not self.scene.whole:
            return trader.tick
        breakers = Breakers(trader.desk.redis, trader.desk.keys)
        return lambda: guarded_tick(trader, breakers)

    def _worker(self) -> BinanceDesk:
        """What a worker process has for itself."""
        if not self.scene.whole:
            return self.world.worker(self.desk.exchange)
        worker = self.world.worker()
        redis, keys, exchange, client = worker.desk.redis, worker.desk.keys, worker.exchange, worker.client
        exchange.set_markets_from_exchange(self.desk.exchange)
        attach_budget(exchange, Budget(redis, keys, AddressKeys(keys.account), allowance_of("binance")))
        client.lists_all_orders = lambda symbols: True  # type: ignore[method-assign]  # as with many symbols
        port = SharedReads(client, redis, keys, [SYMBOL], max_age_ms=1800, clock=worker.desk.clock)
        return replace(worker, desk=replace(worker.desk, exchange=port))

    async def go_on(self) -> None:
        """The exchange behaves again: settle what is doubtful, trade on, settle again."""
        await asyncio.sleep(10)  # requests of dead workers that are still under way expire
        trader = await self._worker().trader(SYMBOL, "survivor")
        tick = self._ticks(trader)
        await settle(trader, tick, TICK_SECONDS)
        before = len((await self.world.exchange.server.record()).orders)
        for _ in range(6):
            await tick()
            await self.world.exchange.server.advance(1)
            await asyncio.sleep(TICK_SECONDS)
        await settle(trader, tick, TICK_SECONDS)
        assert len((await self.world.exchange.server.record()).orders) > before, "trading stopped"


@contextmanager
def stage() -> Iterator[Callable[[int], Outcome]]:
    """A Redis server for scenarios one after the other; gives what plays a seed."""
    gc.freeze()  # what is there already is not looked through after each
    try:
        with TemporaryDirectory(prefix="gridflow-") as name, virtual_redis(Path(name)) as world:
            yield lambda seed: play(seed, world, Path(name))
    finally:
        gc.unfreeze()


def main(first: int, last: int) -> int:
    """Play the seeds, print each one's outcome as a line of JSON; 1 if any went wrong."""
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
