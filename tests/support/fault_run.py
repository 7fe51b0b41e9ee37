"""One seeded scenario: a whole grid over real candles, on a Binance-like exchange that misbehaves, by workers that die.

The seed decides grid, fees, path, meddling, kills, and which request meets which fault; how many requests fit into a
short validity is left to the machine. `run(seed, …)` raises AssertionError with what went wrong, and keeps the
exchange's own record of a scenario that failed.
Every worker has a Redis connection of its own. In one scenario of three it also has an exchange client of its own,
with the shared readings, the shared rate budget and the circuit breakers around its ticks, as a live worker has.
"""

import asyncio
import csv
import gzip
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from tasks.base.errors import GridflowError
from tasks.base.keys import AddressKeys
from tasks.base.money import from_units
from tasks.base.redis import connect
from tasks.base.settings import Settings
from tasks.exchange.breaker import EXCHANGE_RULES, SYMBOL_RULES
from tasks.exchange.breakers import Breakers
from tasks.exchange.budget import Budget, allowance_of, attach_budget
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle
from tasks.exchange.names import parse_name
from tasks.exchange.port import ExchangePort
from tasks.exchange.shared import SharedReads
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.steps import set_stopped
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.ledger.steps import audit_funds
from tasks.tick.models import TickReport
from tasks.tick.trader import GridTrader
from tasks.tick.window import BreakerOpen, guarded_tick
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, join_binance_desk, real_ccxt
from tests.support.binance.faults import Chance, Fault, FaultKind
from tests.support.binance.record import OrderRow, Record, most_committed, open_orders, sent_twice, unseen_trades
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.mortal import Mortal

SYMBOL = "BTC/USDT"
STEPS = 16
MOST_PER_STEP = 60
REAL = STEPS * MOST_PER_STEP  # recorded minutes in a scenario
DATA = Path(__file__).parents[1] / "data"
KINDS = tuple(FaultKind)


# Rules and limits of a live worker, with waits that a test can wait for.
OWN_RULES = replace(SYMBOL_RULES, first_wait_ms=100, most_wait_ms=300, probe_ms=400)
EVERYBODYS_RULES = replace(EXCHANGE_RULES, first_wait_ms=100, most_wait_ms=300, probe_ms=400)
ALLOWANCE = replace(allowance_of("binance"), window_ms=600_000)  # a scenario's ticks follow each other at once
Tick = Callable[[], Coroutine[Any, Any, TickReport]]


class Killed(BaseException):
    """The worker process is gone: nothing after this line runs."""


@cache
def real_candles(symbol: str = SYMBOL) -> tuple[Candle, ...]:
    """Three days of recorded minutes."""
    with gzip.open(DATA / f"{symbol.replace('/', '-')}-1m-2024-01.csv.gz", "rt", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return tuple(
            Candle(
                at_ms=int(row["timestamp"]),
                **{name: Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")},
            )
            for row in rows
        )


@dataclass
class Outcome:
    """What a scenario saw, for the summary of many."""

    seed: int
    faults: int
    kills: int
    orders: int
    trades: int


def settings_of(rng: random.Random, account: str) -> Settings:
    """A grid of some shape; times short enough to wait for."""
    grid: dict[str, Any] = {
        "grid": rng.choice(["arithmetic", "geometric"]),
        "range_pct": rng.choice(["0.02", "0.03"]),
        "cells": rng.randint(5, 9),
        "start": rng.choice(["flat", "balanced"]),
    }
    return Settings(
        account=account,
        symbols={SYMBOL: grid},
        trading={"request_valid_seconds": "0.3", "protection_seconds": "0.8", "lease_seconds": 1},
    )


def plan_of(rng: random.Random) -> list[Chance]:
    """A few kinds of faults, each with its own probability."""
    chances = []
    for kind in rng.sample(KINDS, k=rng.randint(2, 5)):
        seconds = {FaultKind.OUTAGE: 0.15, FaultKind.BAN: 0.15, FaultKind.RATE_LIMIT: 0.1}.get(kind, 0.05)
        if kind in (FaultKind.DELAY_BEFORE, FaultKind.DELAY_AFTER):
            seconds = rng.choice([0.05, 0.2, 0.35])  # the last is longer than a request is valid
        drift = rng.choice([-20_000, 20_000])
        fault = Fault(kind=kind, seconds=seconds, requests=rng.randint(1, 6), ms=drift)
        chances.append(Chance(fault=fault, probability=rng.uniform(0.02, 0.12)))
    return chances


def swings(centre: Decimal, last: Candle) -> list[Candle]:
    """Candles that end a scenario: down and up through the whole of any grid set on the way, so that it must trade."""
    price, found = last.close, []
    for number, share in enumerate(("0.95", "1.05", "0.95", "1.05", "0.95", "1"), start=1):
        close = (centre * Decimal(share)).quantize(Decimal("0.01"))
        at_ms = last.at_ms + number * 60_000
        high, low = max(price, close), min(price, close)
        found.append(Candle(at_ms=at_ms, open=price, high=high, low=low, close=close, volume=Decimal(1)))
        price = close
    return found


async def run(seed: int, redis_url: str) -> Outcome:
    """Play the scenario and hold the books against the exchange's own record."""
    rng = random.Random(seed)
    own = settings_of(rng, f"s{seed}")
    first = rng.randrange(0, 2000)
    real = real_candles()[first : first + REAL]
    candles = {SYMBOL: (*real, *swings(real[0].open, real[-1]))}
    config = Config(
        fee_currency=rng.choice(["quote", "quote", "base"]),
        fill_parts=rng.choice([1, 1, 3]),
        partial_chance=rng.choice([0.0, 0.3]),
        partial_share=0.4,
    )
    redis = connect(redis_url)
    async with local_exchange(candles, config) as server:
        desk = await join_binance_desk(redis, own, server)
        await desk.client.markets([SYMBOL])
        play = Play(desk, server, rng, redis_url, whole=seed % 3 == 0)
        play.leftovers.push_async_callback(redis.aclose)
        play.leftovers.push_async_callback(desk.close)
        async with play.leftovers:
            try:
                return await play.to_the_end(seed)
            except AssertionError as error:
                kept = Path(gettempdir()) / f"gridflow-seed-{seed}.json"
                kept.write_text((await server.record()).model_dump_json(indent=1), encoding="utf-8")
                raise AssertionError(f"{error}; the exchange's record: {kept}") from error


@dataclass
class Play:
    """A scenario under way. `whole`: workers with all that stands between a tick and a live exchange.

    Requests of a dead worker may still be under way, so what it had open is closed as one of the `leftovers`.
    """

    desk: BinanceDesk
    server: LocalExchange
    rng: random.Random
    redis_url: str
    whole: bool
    kills: int = 0
    leftovers: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def to_the_end(self, seed: int) -> Outcome:
        """All of it; the books are held against the exchange's record at the end."""
        played = await self.misbehave()
        await self.server.clear_faults()
        before = await self.server.record()
        await self.server.advance(REAL - played)
        await self.go_on()
        after = await self.server.record()
        await check(self.desk, after)
        assert len(after.orders) + len(after.trades) > len(before.orders) + len(before.trades), "trading stopped"
        return Outcome(seed, len(after.faults), self.kills, len(after.orders), len(after.trades))

    async def misbehave(self) -> int:
        """Tick through faults; some ticks die, at a step or in the middle of any wait. Candles played.

        Now and then somebody cancels an order on the exchange by hand, or an operator stops trading for a tick.
        """
        rng, played, desk = self.rng, 0, self.desk.desk
        await self.server.use_plan(rng.randrange(2**31), *plan_of(rng))
        for number in range(STEPS):
            played += await self.server.advance(rng.randint(5, MOST_PER_STEP))
            fatal = rng.choice(["", "", "", "", "step", "await", "sent"])
            meddling = rng.choice(["", "", "", "", "cancel", "stop"])
            if meddling == "cancel":
                await self._cancel_by_hand()
            await set_stopped(desk.settings, desk.redis, meddling == "stop")
            await self._one_tick(f"w{number}", fatal)
            await desk.redis.delete(desk.keys.lease(SYMBOL))  # as if a dead worker's had run out
        await set_stopped(desk.settings, desk.redis, False)
        return played

    async def _cancel_by_hand(self) -> None:
        """An order is gone before its last fill was seen, and the list of trades may be behind."""
        rng, engine = self.rng, self.server.binance.engine
        if engine.open:
            order = engine.open[rng.choice(sorted(engine.open))]
            if rng.random() < 0.5:
                half = (order.left / 2).quantize(Decimal("0.00001"))
                engine.fill(order.order_id, half or order.left)
                await self.server.inject(Fault(kind=FaultKind.STALE, path="myTrades", requests=6))
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
                ticking.life, ticking.last_breath = ticking.lived + 1, 0.03

        if fatal == "sent":
            slow = Fault(kind=FaultKind.DELAY_BEFORE, method="POST", path="order", seconds=0.2)
            await self.server.inject(slow, count=3)
        worker = self._worker()
        try:
            trader = await worker.trader(SYMBOL, owner, checkpoint)
            ticking = Mortal(self._ticks(trader)(), self.rng.randint(1, 40) if fatal == "await" else 0, Killed)
            await ticking
        except Killed:
            self.kills += 1
        except (GridflowError, BreakerOpen):
            return

    def _ticks(self, trader: GridTrader) -> Tick:
        """How this scenario's workers tick."""
        if not self.whole:
            return trader.tick
        breakers = Breakers(trader.desk.redis, trader.desk.keys, OWN_RULES, EVERYBODYS_RULES)
        return lambda: guarded_tick(trader, breakers)

    def _worker(self) -> BinanceDesk:
        """What a worker process has for itself."""
        shared = self.desk.desk
        redis = connect(self.redis_url)
        self.leftovers.push_async_callback(redis.aclose)
        allocator = GlobalFundAllocator.from_settings(shared.settings, redis)
        exchange = self.desk.exchange
        client = CcxtClient(exchange)
        port: ExchangePort = client
        if self.whole:
            exchange = real_ccxt(self.server)
            exchange.set_markets_from_exchange(self.desk.exchange)
            attach_budget(exchange, Budget(redis, shared.keys, AddressKeys(shared.keys.account), ALLOWANCE))
            self.leftovers.push_async_callback(exchange.close)
            client = CcxtClient(exchange)
            client.lists_all_orders = lambda symbols: True  # type: ignore[method-assign]  # as with many symbols
            port = SharedReads(client, redis, shared.keys, [SYMBOL], max_age_ms=200, lock_ms=1000)
        desk = replace(shared, redis=redis, allocator=allocator, exchange=port)
        return BinanceDesk(desk, exchange, client, self.server)

    async def go_on(self) -> None:
        """The exchange behaves again: settle what is doubtful, trade on, settle again."""
        await asyncio.sleep(0.3)  # requests of dead workers that are still under way expire
        trader = await self._worker().trader(SYMBOL, "survivor")
        tick = self._ticks(trader)
        await settle(trader, tick)
        for _ in range(6):
            await tick()
            await self.server.advance(1)
            await asyncio.sleep(0.2 if self.whole else 0)  # a reading is shared for so long
        await settle(trader, tick)


async def settle(trader: GridTrader, tick: Tick | None = None) -> None:
    """Tick until nothing is doubtful and nothing moves."""
    quiet = 0
    for _ in range(120):
        try:
            report = await (tick or trader.tick)()
        except (GridflowError, BreakerOpen):
            await asyncio.sleep(0.05)
            continue
        entries = await trader.desk.redis.hvals(trader.desk.keys.intents(SYMBOL))
        doubtful = any('"state":"INTENT"' in str(text) or '"state":"UNKNOWN"' in str(text) for text in entries)
        quiet = 0 if doubtful or report.fills or report.placed else quiet + 1
        if quiet >= 2:
            return
        await asyncio.sleep(0.04 if doubtful else 0)
    raise AssertionError("the journal never settled")


def lot_of(order: OrderRow) -> str:
    """Cost basis goes by cell."""
    name = parse_name(order.client_id)
    return name.cell_key if name else order.symbol


async def check(desk: BinanceDesk, record: Record) -> None:
    """The exchange's record and our books say the same."""
    redis, keys = desk.desk.redis, desk.desk.keys
    assert sent_twice(record) == {}, "an order was sent twice"
    seen: Sequence[Any] = await redis.zrange(keys.seen(SYMBOL), 0, -1)
    assert unseen_trades(record, seen) == [], "a fill is missing"
    assert len(seen) == len(record.trades), "a fill was booked that never was"
    status = await desk.desk.allocator.get_global_status_summary()
    pool = from_units(status.pool_units)
    assert most_committed(record, lot_of) <= pool, "the exchange saw more spent than the pool"
    assert from_units(status.max_committed_units) <= pool
    book = Book.model_validate_json(await redis.get(keys.book(SYMBOL)) or "")
    assert value(book, Decimal("42123.45")).identity_error == 0
    balances = await desk.client.balances()
    quote, base = balances["USDT"], balances.get("BTC")
    assert quote.free + quote.locked == Decimal(10_000) + book.cash
    assert (base.free + base.locked if base else Decimal(0)) == book.base
    resting = {order.client_id for order in open_orders(record)}
    assert resting == {str(name) for name in await redis.hkeys(keys.intents(SYMBOL))}
    report = await audit_funds(redis, keys, [SYMBOL], desk.client)
    assert report.differences == (), report.differences
