"""One seeded scenario: whole grids over real candles, on a Binance-like exchange with faults, by workers that die.

Meanwhile an operator changes the settings and rebalances (`tests.support.fault_events`). The seed decides everything:
the scene, changes, manual cancels, kills, faults and the duration of every request, and so the order of events that
happen at the same time. It plays in virtual time (`tests.support.virtual`), with a live worker's own settings, and
replays exactly on any machine: `python -m tests.support.fault_run FIRST LAST` plays those seeds and prints a line for
each.
"""

import asyncio
import gc
import hashlib
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import cast

from tasks.base.errors import GridflowError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.funds.store import set_flag
from tasks.tick.active_symbols import active_symbols
from tasks.tick.monitor import run_monitor
from tasks.tick.recover import open_books
from tasks.tick.window import BreakerOpen
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import Record, most_committed
from tests.support.fault_check import check_orders_and_accounts, lot_of
from tests.support.fault_crew import TICK_SECONDS, Crew
from tests.support.fault_draw import MONEY, MOST_PER_STEP, REAL, STEPS, SYMBOLS, Scene, draw_scene, plan_of
from tests.support.fault_end import can_trade, exits_unasked, is_below_its_grids, lost_from_sight
from tests.support.fault_events import Operator
from tests.support.fault_workers import Workers
from tests.support.mortal import Killed, Mortal
from tests.support.redis_contents import contents
from tests.support.virtual.desk import VirtualWorld, in_world
from tests.support.virtual.loop import Standstill, run_virtually
from tests.support.virtual.pot_watch import PotWatch
from tests.support.virtual.redis import VirtualRedis, virtual_redis

LONGEST = 4 * 3600.0  # virtual seconds


class Wrong(Exception):
    """A failed scenario. The message says what is wrong, and where the exchange's record is stored."""


@dataclass(frozen=True)
class Outcome:
    """Counts of a scenario. `digest`: a hash of every request, order and trade, and of Redis at the end."""

    seed: int
    faults: dict[str, int]  # kind → how often
    events: dict[str, int]  # what an operator did → how often
    kills: int
    grants: int
    orders: int
    trades: int
    digest: str


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
    rng = random.Random(seed)
    scene = draw_scene(rng, seed)

    async def work(world: VirtualWorld) -> Outcome:
        watch = PotWatch(str(redis.path), Keys(scene.settings.account), SYMBOLS)
        redis.after_script = watch
        try:
            return await Play(scene, world, rng, watch).to_the_end(seed)
        except Exception as error:
            kept = Path(gettempdir()) / f"gridflow-seed-{seed}-{os.getpid()}.json"
            kept.write_text((await world.exchange.server.record()).model_dump_json(indent=1), encoding="utf-8")
            raise Wrong(f"{_error_text(error)}; the exchange's record: {kept}") from error
        finally:
            redis.after_script = None
            watch.close()

    return cast(Outcome, await in_world(scene.settings, scene.candles, scene.exchange, redis, folder, seed, work))


def _error_text(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"


@dataclass
class Play:
    """A running scenario. A killed worker's requests may still be on their way, so its connections stay open."""

    scene: Scene
    world: VirtualWorld
    rng: random.Random
    watch: PotWatch
    kills: int = 0
    running: list[asyncio.Task[None]] = field(default_factory=list)
    desk: BinanceDesk = field(init=False)
    workers: Workers = field(init=False)
    operator: Operator = field(init=False)
    markets: Mapping[str, Market] = field(init=False)

    async def to_the_end(self, seed: int) -> Outcome:
        """Play the whole scenario, then compare the books with the exchange's record."""
        server = self.world.exchange.server
        self.desk = self.world.worker()
        self.workers = Workers(self.world, self.desk, whole=self.scene.whole)
        self.markets = await self.desk.client.markets(SYMBOLS)
        self.operator = Operator(self.scene, self.world.worker(self.desk.exchange), self.rng)
        await self.operator.start()
        await self.play_with_faults()
        await server.clear_faults()
        await server.advance(REAL - self._played)
        await self.recover_and_trade()
        after = await server.record()
        await check_orders_and_accounts(self.desk, after, SYMBOLS, MONEY)
        await self._check_money(after)
        keys = self.desk.desk.keys
        ids = (keys.server, keys.compared)  # of the Redis server: each start has others
        seen = after.model_dump_json() + await contents(self.desk.desk.redis, but=ids)
        digest = hashlib.sha256(seen.encode()).hexdigest()
        faults, events = dict(Counter(fault.kind for fault in after.faults)), dict(self.operator.done)
        sums = self.watch.grants, len(after.orders), len(after.trades)
        return Outcome(seed, faults, events, self.kills, *sums, digest)

    async def _check_money(self, record: Record) -> None:
        assert self.watch.wrong == [], self.watch.wrong[:3]
        most = from_units(self.watch.most_pool) + await lost_from_sight(self.desk.desk, SYMBOLS)
        assert most_committed(record, lot_of) <= most, "the exchange saw more spent than the highest pool"
        assert exits_unasked(record, self.operator.asked_to_sell) == [], "sold at the market, and nobody asked for it"

    @property
    def _played(self) -> int:
        """The number of candles that every symbol has played."""
        return min(self.world.exchange.server.binance.engine.done.values())

    async def play_with_faults(self) -> None:
        """Tick while faults happen. Some ticks are killed, at a step or in any wait. Others freeze in a wait and go on
        after other workers have traded.

        Now and then an order is cancelled on the exchange by hand, an operator stops trading for a tick, changes the
        settings or rebalances, and the monitor runs.
        """
        rng, server, desk = self.rng, self.world.exchange.server, self.desk.desk
        await server.use_plan(rng.randrange(2**31), *plan_of(rng))
        for number in range(STEPS):
            await server.advance(rng.randint(5, MOST_PER_STEP))
            manual_action = rng.choice(["", "", "", "", "cancel", "stop"])
            if manual_action == "cancel":
                await self._cancel_by_hand()
            await self._stop(manual_action == "stop")
            if rng.random() < 0.6:
                self.running.append(asyncio.create_task(self._operate(rng.choice([0, rng.uniform(0, 2)]))))
            if rng.random() < 0.3:
                self.running.append(asyncio.create_task(self._monitor(rng.uniform(0, 3))))
            symbols = await self._active_symbols()
            await asyncio.gather(*(self._one_step(f"w{number}", symbol) for symbol in symbols))
            for symbol in symbols:
                await desk.redis.delete(desk.keys.lease(symbol))  # as if a dead worker's had run out
            await asyncio.sleep(rng.uniform(0, 8))  # less than an order is protected, most times
        await asyncio.gather(*self.running)  # the frozen go on, at the latest now
        await self._stop(False)

    async def _stop(self, stopped: bool) -> None:
        """An operator's stop, raised or lifted, in one call to Redis."""
        desk = self.desk.desk
        await set_flag(desk.redis, hashes=[desk.keys.funds], flag="stopped", value=stopped)

    async def _active_symbols(self) -> list[str]:
        desk = self.desk.desk
        await desk.follow_settings()
        return await active_symbols(desk)

    async def _operate(self, after: float) -> None:
        await asyncio.sleep(after)
        await self.operator.act()

    async def _monitor(self, after: float) -> None:
        """Run a worker's monitor. Now and then it is killed or freezes in the middle."""
        await asyncio.sleep(after)
        fatal = self.rng.choice(["", "", "await", "freeze"])
        monitoring = Mortal(
            run_monitor(self.workers.new().desk), self.rng.randint(1, 12) if fatal == "await" else 0, Killed
        )
        if fatal == "freeze":
            monitoring.freezes = {self.rng.randint(1, 12): self.rng.uniform(5, 40)}
        try:
            await monitoring
        except Killed:
            self.kills += 1
        except GridflowError:
            return

    async def _one_step(self, owner: str, symbol: str) -> None:
        fatal = self.rng.choice(["", "", "", "", "step", "await", "sent", "freeze"])
        ticking = asyncio.create_task(self._one_tick(f"{owner} {symbol}", symbol, fatal))
        await asyncio.wait({ticking}, timeout=self.rng.uniform(1, 5) if fatal == "freeze" else None)
        self.running.append(ticking)

    async def _cancel_by_hand(self) -> None:
        """Cancel an order before its last fill was seen. The list of trades may be stale then."""
        rng, engine = self.rng, self.world.exchange.server.binance.engine
        if engine.open:
            order = engine.open[rng.choice(sorted(engine.open))]
            if rng.random() < 0.5:
                half = (order.left / 2).quantize(Decimal("0.00001"))
                engine.fill(order.order_id, half or order.left)
                await self.world.exchange.server.inject(Fault(kind=FaultKind.STALE, path="myTrades", requests=6))
            if order.now.open:
                engine.cancel(order.symbol, {"orderId": str(order.order_id)})

    async def _one_tick(self, owner: str, symbol: str, fatal: str) -> None:
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
        other = self.operator.other_file() if self.rng.random() < 0.1 else None
        worker = self.workers.new(other)
        try:
            if other is not None and self.rng.random() < 0.5:
                await open_books(worker.desk, self.markets, owner)
            trader = await worker.trader(symbol, owner, checkpoint)
            ticking = Mortal(self.workers.ticks(trader)(), self.rng.randint(1, 40) if fatal == "await" else 0, Killed)
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

    async def recover_and_trade(self) -> None:
        """After the faults: settle every order, trade on, follow the allocations, settle again."""
        await asyncio.sleep(10)  # requests of dead workers that are still under way expire
        crew = Crew(self.workers.new(), self.workers.ticks)
        server = self.world.exchange.server
        await run_monitor(crew.worker.desk)
        await crew.settle()
        before = len((await server.record()).orders)
        can = can_trade(crew.worker.desk, await crew.worker.desk.allocator.get_global_status_summary())
        for _ in range(6):
            await crew.tick()
            await server.advance(1)
            await asyncio.sleep(TICK_SECONDS)
        await crew.follow(self._prices, self.markets)
        traded = len((await server.record()).orders) > before
        assert not can or traded or await is_below_its_grids(crew.worker.desk), "trading stopped"

    def _prices(self) -> Mapping[str, Decimal]:
        engine = self.world.exchange.server.binance.engine
        return {symbol: engine.last(symbol.replace("/", "")) for symbol in SYMBOLS}


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
