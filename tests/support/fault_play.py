"""A running scenario of a fault run: workers, an operator and an exchange, first with trouble and then without."""

import asyncio
import hashlib
import random
import re
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from tasks.base.errors import ConfigError, ExchangeError
from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.exchange.order_ids import parse_order_id
from tasks.funds.store import set_flag
from tasks.tick.active_symbols import active_symbols
from tasks.tick.monitor import run_monitor
from tasks.tick.stopping import with_retries
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.record import Record, is_recoup, most_committed, sent_otherwise
from tests.support.fault_capital import CapitalDesk
from tests.support.fault_check import check_orders_and_accounts, lot_of
from tests.support.fault_crew import TICK_SECONDS, Crew
from tests.support.fault_deaths import Deaths
from tests.support.fault_draw import MONEY, MOST_PER_STEP, REAL, STEPS, SYMBOLS, Scene, plan_of
from tests.support.fault_end import (
    can_trade,
    exits_unasked,
    filled_whole,
    is_below_its_grids,
    is_out_of_reach,
    lost_from_sight,
    unreadable_fees,
)
from tests.support.fault_events import FOR_GOOD_MS, Operator
from tests.support.fault_hazards import Hazards
from tests.support.fault_history import check_history
from tests.support.fault_orders import check_earned, check_listed_once, check_names, check_recoups
from tests.support.fault_redis import RedisTrouble, is_compared
from tests.support.fault_rules import RulesDesk
from tests.support.fault_stop import Stop
from tests.support.fault_swarm import Swarm, Trouble
from tests.support.fault_workers import Workers
from tests.support.redis_contents import contents
from tests.support.virtual.desk import VirtualWorld
from tests.support.virtual.pot_watch import PotWatch

_MINUTES_GONE = 2
_CHANGES_A_LOT = {Trouble.AMENDED, Trouble.FILTERS, Trouble.WITHDRAWN, Trouble.GONE}


@dataclass(frozen=True)
class Outcome:
    """Counts of a scenario. `digest`: a hash of every request, order and trade, and of Redis at the end."""

    seed: int
    faults: dict[str, int]  # kind → how often
    events: dict[str, int]  # what an operator did, and what happened on the exchange and to Redis → how often
    kills: int
    grants: int
    orders: int
    trades: int
    digest: str


# Of an operator's action: its random id, and its time by the system's clock.
_NOT_REPLAYED = re.compile(r'[0-9a-f]{32}|(?<=at_ms\\": )\d+(?=, \\"actor)')


@dataclass
class Play:
    """A running scenario. A killed worker's requests may still be on their way, so its connections stay open."""

    scene: Scene
    world: VirtualWorld
    rng: random.Random
    watch: PotWatch
    swarm: Swarm
    stopping: int = 0
    running: list[asyncio.Task[None]] = field(default_factory=list)
    desk: BinanceDesk = field(init=False)
    workers: Workers = field(init=False)
    operator: Operator = field(init=False)
    hazards: Hazards = field(init=False)
    redis: RedisTrouble = field(init=False)
    rules: RulesDesk = field(init=False)
    deaths: Deaths = field(init=False)
    capital: CapitalDesk = field(init=False)
    markets: Mapping[str, Market] = field(init=False)

    async def to_the_end(self, seed: int) -> Outcome:
        """Play the whole scenario, then compare the books with the exchange's record."""
        server = self.world.exchange.server
        self.desk = self.world.worker()
        self.workers = Workers(self.world, self.desk, whole=self.scene.whole)
        self.markets = await self.desk.client.markets(SYMBOLS)
        self.operator = Operator(self.scene, self.world.worker(self.desk.exchange), self.rng)
        own, done = random.Random(f"hazards {seed}"), self.operator.done
        self.hazards = Hazards(self.world.exchange, self.swarm, own, done)
        self.redis = RedisTrouble(self.world.redis, server, self.operator, self.swarm, own, done)
        self.capital = CapitalDesk(
            self.world.worker(self.desk.exchange), server.binance.engine, random.Random(f"money {seed}"), done
        )
        self.deaths = Deaths(server, self.workers, self.operator, self.swarm, self.rng, self.markets)
        resumer = self.world.worker(self.desk.exchange)
        self.rules = RulesDesk(resumer, random.Random(f"resumed {seed}"), done, lambda: self.redis.put_backs)
        if Trouble.EARNING in self.swarm.rates:
            self.operator.earnings = random.Random(f"earned by changes {seed}")
        await self.operator.start()
        self.redis.begin()
        await self.play_with_faults()
        self.redis.end()
        await server.clear_faults()
        if Trouble.GONE in self.swarm.rates:
            self.hazards.list_again()
            await asyncio.sleep(10)
            await Crew(self.workers.new(), self.workers.ticks).let_base_go(set(SYMBOLS) - self.hazards.gone)
        self.hazards.end()
        await server.advance(REAL - self.hazards.played)
        await self.recover_and_trade()
        return await self._checked(seed)

    async def _checked(self, seed: int) -> Outcome:
        after = await self.world.exchange.server.record()
        strays, gone = self.hazards.hands.strays, self.hazards.gone
        forgotten = await check_orders_and_accounts(
            self.desk, after, SYMBOLS, MONEY + self.capital.on_account, unlisted=gone, placed_by_hand=strays
        )
        await self.capital.check(self.redis.put_backs)
        if Trouble.AMENDED not in self.swarm.rates:  # a larger sell takes of what other cells earned
            for symbol in self.operator.always - gone:
                await check_earned(self.desk.desk.redis, self.desk.desk.keys, symbol)
        for symbol in SYMBOLS:
            await check_listed_once(self.desk.desk.redis, self.desk.desk.keys, symbol)
            await check_names(self.desk.desk.redis, self.desk.desk.keys, after, symbol)
            if _CHANGES_A_LOT.isdisjoint(self.swarm.rates):
                await check_recoups(self.desk.desk.redis, self.desk.desk.keys, after, self.markets[symbol])
        rounded = sent_otherwise(after, self.workers.asked)
        assert rounded == [], f"sent with another price or amount than its intent: {rounded}"
        await self._check_money(after)
        keys = self.desk.desk.keys
        ids = (keys.server, keys.compared)  # of the Redis server: each start has others
        seen = after.model_dump_json() + await contents(self.desk.desk.redis, but=ids)
        digest = hashlib.sha256(_NOT_REPLAYED.sub("", seen).encode()).hexdigest()
        check_history(self.world.redis.path, keys.account, after, unshown={*gone, *forgotten})
        paid = [trade for trade in after.trades if trade.fee_asset == "BNB" and trade.symbol != "BNBUSDT"]
        self.operator.done[Trouble.COIN_FEES] += len(paid)
        self.operator.done[Trouble.EARNING] += sum(is_recoup(trade.client_id) for trade in after.trades)
        faults, events = dict(Counter(fault.kind for fault in after.faults)), dict(self.operator.done)
        sums = self.watch.grants, len(after.orders), len(after.trades)
        return Outcome(seed, faults, events, self.deaths.kills, *sums, digest)

    async def _check_money(self, record: Record) -> None:
        assert self.watch.wrong == [], self.watch.wrong[:3]
        most = from_units(self.watch.most_pool) + await lost_from_sight(
            self.desk.desk, SYMBOLS, record, self.hazards.gone
        )
        most += self.hazards.hands.raised
        assert most_committed(record, lot_of) <= most, "the exchange saw more spent than the highest pool"
        assert exits_unasked(record, self._may_sell()) == [], "sold at the market, and nobody asked for it"

    def _may_sell(self) -> Mapping[str, Sequence[tuple[int, int]]]:
        """When each symbol may be sold at the market: as asked, and where it has stops at any time."""
        if Trouble.RULES not in self.swarm.rates:
            return self.operator.asked_to_sell
        return {symbol: [(0, FOR_GOOD_MS)] for symbol in SYMBOLS}

    async def play_with_faults(self) -> None:
        """Tick while faults happen. Some ticks are killed, at a step or in any wait. Others freeze in a wait and go on
        after other workers have traded.

        What else happens is drawn by the swarm: on the exchange, to Redis, and by operators.
        """
        rng, server, comes = self.rng, self.world.exchange.server, self.swarm.comes
        factor = self.swarm.rates.get(Trouble.FAULTS, 0.0)
        await server.use_plan(rng.randrange(2**31), *plan_of(rng, factor))
        for number in range(STEPS):
            await server.advance(rng.randint(5, MOST_PER_STEP))
            await self.hazards.act(self.operator.settings.symbols)
            for trouble in await self.redis.act():
                self._start(trouble)
            await self._stop(comes(Trouble.FLAG))
            if comes(Trouble.STOPPED):
                self._start(self._stop_with_report())
            if comes(Trouble.SETTINGS):
                self._start(self._operate(rng.choice([0, rng.uniform(0, 2)])))
            if comes(Trouble.MONITOR):
                self._start(self.deaths.monitor(rng.uniform(0, 3)))
            await self._note_listing()
            if comes(Trouble.FILTERS):
                self._start(self._note_listing(rng.uniform(0, 8)))
            symbols = await self._active_symbols()
            await asyncio.gather(*(self.deaths.one_step(f"w{number}", symbol, self.running) for symbol in symbols))
            await self._end_leases(symbols)
            await self._check_keepers()
            if Trouble.RULES in self.swarm.rates:
                self._start(self._resume_some())
            if Trouble.INVESTED in self.swarm.rates and self.capital.rng.random() < 0.3:
                self._start(self.capital.act())
            await asyncio.sleep(rng.uniform(0, 8))  # less than an order is protected, most times
        if comes(Trouble.GONE):
            await self._let_base_go()
        await asyncio.gather(*self.running)  # the frozen go on, at the latest now
        await self._stop(False)

    async def _let_base_go(self) -> None:
        """Base stays away for some minutes of ticks and monitors, while requests fail: the books let it go."""
        await self._stop(False)
        self.hazards.fill_buys()
        await self._tick_for_a_minute("before")
        self.hazards.withdraw_for_long()
        for minute in range(_MINUTES_GONE):
            await self._tick_for_a_minute(str(minute))
            await self.deaths.monitor(0)

    async def _tick_for_a_minute(self, name: str) -> None:
        for turn in range(3):
            symbols = await self._active_symbols()
            await asyncio.gather(*(self.deaths.one_tick(f"g{name} {turn} {one}", one, "") for one in symbols))
            await self._end_leases(symbols)
            await asyncio.sleep(20)

    async def _end_leases(self, symbols: Sequence[str]) -> None:
        """As if the leases of dead workers had run out, which needs no answer of Redis."""
        desk = self.desk.desk
        for symbol in symbols:
            await with_retries(partial(desk.redis.delete, desk.keys.lease(symbol)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.running.append(asyncio.create_task(work))

    async def _stop(self, stopped: bool) -> None:
        """An operator's stop, raised or lifted, in one call to Redis; not lifted while one is held to its report.

        The operator gives it again where Redis does not answer.
        """
        redis, funds = self.desk.desk.redis, [self.desk.desk.keys.funds]
        await with_retries(lambda: set_flag(redis, hashes=funds, flag="stopped", value=stopped or self.stopping > 0))

    async def _stop_with_report(self) -> None:
        self.stopping += 1
        self.operator.done[Trouble.STOPPED] += 1
        stop = self._new_stop(self.rng.choice([0, 0, 100.0]))  # seconds; longer than a stop tries
        try:
            await stop.run(self.rng.uniform(0, 5))
        finally:
            self.stopping -= 1

    def _new_stop(self, away_seconds: float = 0) -> Stop:
        hands = self.hazards.hands
        worker, owner = self.workers.new(), f"stop {self.operator.done[Trouble.STOPPED]}"
        return Stop(worker, hands.engine, lambda: self.redis.put_backs, hands.strays, owner, away_seconds)

    async def _note_listing(self, after: float = 0) -> None:
        """Now and then a new worker sees the exchange's present filters, and the operator sees what was delisted."""
        await asyncio.sleep(after)
        if self.rng.random() < 0.3:
            try:
                await self.desk.client.refreshed_markets(SYMBOLS)
            except ExchangeError:
                return
        if self.hazards.gone and self.rng.random() < 0.3:
            await self.operator.remove(self.hazards.gone)

    async def _active_symbols(self) -> list[str]:
        desk = self.desk.desk
        await with_retries(desk.follow_settings)
        return await with_retries(lambda: active_symbols(desk))

    async def _check_keepers(self) -> None:
        """Every live order of ours has a journal entry, unless Redis has just lost it or all records of its symbol."""
        desk, known = self.desk.desk, await with_retries(self.operator.symbols_with_a_grid)
        ids = {symbol.replace("/", "") for symbol in known}
        orders = [order for order in self.hazards.engine.open.values() if order.symbol in ids]
        resting = {order.client_id for order in orders if parse_order_id(order.client_id)}
        try:
            journal = {str(name) for symbol in known for name in await desk.redis.hkeys(desk.keys.intents(symbol))}
        except RedisError:
            return  # its answers were lost, all of them; the next step looks again
        left = resting - journal - self.hazards.hands.strays
        if left and await is_compared(desk.redis, desk.keys):
            raise AssertionError(f"no keeper: {sorted(left)}")

    async def _resume_some(self) -> None:
        try:
            await self.rules.act(list(self.operator.settings.symbols))
        except (RedisError, ConfigError):
            return  # Redis is away, or other settings than the operator's are in force for a moment

    async def _operate(self, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await self.operator.act()
        except RedisError:
            return  # the operator deploys again later

    async def recover_and_trade(self) -> None:
        """After the faults: settle every order, trade on, follow the allocations, settle again."""
        await asyncio.sleep(10)  # requests of dead workers that are still under way expire
        await self.operator.deploy_again()
        if Trouble.RULES in self.swarm.rates:
            await self.operator.drop_rules()
            await self.rules.end(list(self.operator.settings.symbols))
        self.markets = {**self.markets, **await self.desk.client.refreshed_markets(SYMBOLS)}
        crew = Crew(self.workers.new(), self.workers.ticks)
        if self.hazards.gone:
            await self.operator.remove(self.hazards.gone)
            await crew.write_off(sorted(self.hazards.gone))
        server = self.world.exchange.server
        await run_monitor(crew.worker.desk)
        await crew.settle()
        record = await server.record()
        taken = await unreadable_fees(self.desk.desk, record, self.hazards.gone)
        for coin, amount in self.hazards.taken.items():
            taken[coin] = taken.get(coin, Decimal(0)) + amount
        if returned := await crew.take_back(taken):
            self.operator.done["base missing"] += returned
            await crew.settle()  # what came back has its cost again: less can be bought
            record = await server.record()
        can = can_trade(crew.worker.desk, await crew.worker.desk.allocator.get_global_status_summary())
        if Trouble.FILTERS in self.swarm.rates:
            self.hazards.tighten_filters()  # the next line tells clients of the first process, and no tick
            self.markets = {**self.markets, **await self.desk.client.refreshed_markets(SYMBOLS)}
        for _ in range(6):
            await crew.tick()
            await server.advance(1)
            await asyncio.sleep(TICK_SECONDS)
        await crew.follow(self._prices, self.markets)
        after, where = await server.record(), (crew.worker.desk, self._prices())
        waits = filled_whole(after) <= filled_whole(record) and await is_out_of_reach(*where)
        traded = len(after.orders) > len(record.orders) or waits
        assert not can or traded or await is_below_its_grids(*where), "trading stopped"
        if Trouble.STOPPED in self.swarm.rates:
            report = await self._new_stop().run(0)
            assert report is not None, "a stop cannot tell what is open where nothing fails"
            assert report.is_clean, f"a stop leaves orders where nothing fails: {report}"

    def _prices(self) -> Mapping[str, Decimal]:
        return {symbol: self.hazards.engine.last(symbol.replace("/", "")) for symbol in SYMBOLS}
