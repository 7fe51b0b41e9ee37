"""Several workers on one paper exchange in virtual time: each ticks its symbol whenever the last report says."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle, OrderRequest, Placement
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FundsStatus
from tasks.ledger.models import Book
from tasks.ledger.rules import total, value
from tasks.ledger.steps import audit_funds
from tasks.paper.opening import open_manual_exchange, open_paper_exchange
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.models import TickReport
from tasks.tick.recover import open_books
from tasks.tick.trader import GridTrader
from tests.support.virtual.loop import VirtualClock, run_virtually, virtual_clock
from tests.support.virtual.redis import VirtualRedis, virtual_redis

T = TypeVar("T")
CANDLE_SECONDS = 60
LOOK_SECONDS = 0.1


class CountingClient(CcxtClient):
    """The client, and how often it sent which order."""

    sent: Counter[str]

    async def place(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        """See CcxtClient."""
        self.sent.update(request.client_id for request in requests)
        return await super().place(requests)


@dataclass
class Moment:
    """What was seen right after one tick. `passed`: virtual seconds since the world began."""

    passed: float
    report: TickReport
    status: FundsStatus


@dataclass
class PaperWorld:
    """The exchange, Redis, and a worker a symbol; `seen`: what every tick showed, in order."""

    redis: VirtualRedis
    settings: Settings
    candles: Mapping[str, Sequence[Candle]]
    clock: VirtualClock
    leftovers: AsyncExitStack
    sent: Counter[str] = field(default_factory=Counter)
    seen: list[Moment] = field(default_factory=list)
    traders: dict[str, GridTrader] = field(default_factory=dict)
    running: list[asyncio.Task[None]] = field(default_factory=list)
    exchange: Any = None

    @property
    def keys(self) -> Keys:
        """Of the account."""
        return Keys(self.settings.account)

    def client(self, name: str) -> RedisClient:
        """A Redis connection of its own; `name` decides how long its calls take."""
        client = self.redis.client(random.Random(name))
        self.leftovers.push_async_callback(client.aclose)
        return client

    async def start(self) -> None:
        """Open the market and the books, then let everybody tick and the market move."""
        for symbol in self.settings.symbols:
            desk = await self._desk(symbol)
            markets = await desk.exchange.markets(list(self.settings.symbols))
            if not self.traders:
                await open_books(desk, markets, owner="opening")
            self.traders[symbol] = GridTrader(desk, markets[symbol], owner=symbol)
        self.running = [asyncio.create_task(self._tick(trader)) for trader in self.traders.values()]
        self.running.append(asyncio.create_task(self._move()))

    async def _desk(self, name: str) -> Desk:
        redis, clock = self.client(name), self.clock.now
        if self.exchange is None:
            opened = self.exchange = await open_manual_exchange(self.settings, redis, self.candles, clock)
        else:
            opened = await open_paper_exchange(self.settings, redis, clock, beat=False)
        client = CountingClient(opened)
        client.sent = self.sent
        self.leftovers.push_async_callback(client.close)
        allocator = GlobalFundAllocator.from_settings(self.settings, redis, clock)
        return Desk(self.settings, redis, client, allocator, self.keys, clock)

    async def _tick(self, trader: GridTrader) -> None:
        while True:
            report = await trader.tick()
            status = await trader.desk.allocator.get_global_status_summary()
            self.seen.append(Moment(self.clock.passed, report, status))
            await asyncio.sleep(float(report.next_in))

    async def _move(self) -> None:
        while True:
            await asyncio.sleep(CANDLE_SECONDS)
            await self.exchange.advance(1)

    async def wait(self, seconds: float, until: Callable[[], Awaitable[bool]] | None = None) -> float:
        """Let `seconds` pass, or less if `until` holds after a tick; the seconds that passed."""
        began, ticks = self.clock.passed, len(self.seen)
        while self.clock.passed < began + seconds:
            ended, _ = await asyncio.wait(self.running, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            if until is not None and len(self.seen) > ticks and await until():
                break
            ticks = len(self.seen)
        return self.clock.passed - began

    async def stop(self) -> None:
        """No tick, no candle; what was under way is given up."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def check_books(self) -> None:
        """Stop. No order was sent twice; exchange, ledger, journal and pot say the same."""
        await self.stop()
        assert set(self.sent.values()) == {1}, "an order was sent twice"
        cash = []
        for symbol, trader in self.traders.items():
            await trader.tick()  # books what filled last
            book = Book.model_validate_json(await trader.desk.redis.get(self.keys.book(symbol)) or "")
            balances = await trader.desk.exchange.balances()
            base = balances.get(symbol.split("/")[0])
            assert value(book, Decimal("123.45")).identity_error == 0
            assert (base.free + base.locked if base else Decimal(0)) == book.base
            cash.append(book.cash)
        desk = next(iter(self.traders.values())).desk
        quote = (await desk.exchange.balances())["USDT"]
        assert quote.free + quote.locked == self.settings.total_funds + total(cash)
        assert (await audit_funds(desk.redis, desk.keys, list(self.traders), desk.exchange)).differences == ()


def play_on_paper(
    settings: Settings, candles: Mapping[str, Sequence[Candle]], work: Callable[[PaperWorld], Awaitable[T]]
) -> T:
    """Do `work` while everybody trades, in a world of its own on a Redis server of its own."""

    async def play(redis: VirtualRedis) -> T:
        async with AsyncExitStack() as leftovers:
            world = PaperWorld(redis, settings, candles, virtual_clock(), leftovers)
            await world.start()
            try:
                return await work(world)
            finally:
                await world.stop()

    with TemporaryDirectory(prefix="gridflow-") as name, virtual_redis(Path(name)) as redis:
        return run_virtually(lambda: play(redis), 1)
