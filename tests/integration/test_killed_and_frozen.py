"""Real worker processes on a Binance-like exchange: killed at every wait, frozen at every step, Redis wiped."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.grid.models import Cell
from tasks.ledger.models import Book
from tasks.tick.recover import open_books
from tasks.tick.trader import GridTrader
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, join_binance_desk
from tests.support.binance.record import sent_twice
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.binance_worker import CALM, FENCED_OFF, LIVED, SHORT, own_settings, start_worker
from tests.support.books import STEPS
from tests.support.desk import BTC, settings, walk
from tests.support.fault_check import check_books, settle
from tests.support.redis_contents import contents

AT_ONCE = 12
THREE = (BTC, "ETH/USDT", "BNB/USDT")
PLENTY = Decimal(10**6)
CANDLES = 120
PATIENT = {"request_valid_seconds": "5", "protection_seconds": "10", "lease_seconds": 30}  # for a busy machine
ENTRIES = 10  # a balanced start buys ten of twenty cells at the market


@dataclass
class Stage:
    """One grid on an exchange of its own, after its first fills and before the tick in question."""

    account: str
    server: LocalExchange
    desk: BinanceDesk

    async def trader(self) -> GridTrader:
        """The worker that goes on afterwards."""
        await self.desk.desk.redis.delete(self.desk.desk.keys.lease(BTC))  # the lease has run out
        return await self.desk.trader(owner="survivor")

    async def trade_on(self) -> tuple[Any, ...]:
        """Settle, trade to the end of the candles, settle; the final books."""
        trader = await self.trader()
        await settle(trader)
        for _ in range(15):
            await self.server.advance(3)
            await trader.tick()
        await settle(trader)
        await check_books(self.desk, await self.server.record())
        return await self.books()

    def move_money(self, amount: Decimal) -> None:
        """Pay into the account, or out of it, so much of every asset."""
        engine = self.server.binance.engine
        engine.totals.append((engine.seq, {asset: held + amount for asset, held in engine.totals[-1][1].items()}))

    async def held(self) -> str:
        """All that Redis holds of this account, but for the lease, which ends by itself."""
        keys = self.desk.desk.keys
        return await contents(self.desk.desk.redis, f"{keys.prefix}:*", [keys.lease(BTC)])

    async def books(self) -> tuple[Any, ...]:
        """What must not depend on kills."""
        return await books_of(self.desk.desk.redis, self.desk.desk.keys, BTC)


async def books_of(redis: RedisClient, keys: Keys, symbol: str) -> tuple[Any, ...]:
    """Totals, and what each cell holds and has earned."""
    book = Book.model_validate_json(await redis.get(keys.book(symbol)) or "")
    texts = await redis.hvals(keys.cells(symbol))
    cells = sorted((Cell.model_validate_json(text) for text in texts), key=lambda cell: cell.key)
    held = tuple((cell.key, cell.state, cell.qty, cell.basis, cell.profit, cell.rounds) for cell in cells)
    totals = (book.cash, book.base, book.basis, book.grid_profit, book.fees, book.volume, book.buys, book.sells)
    return totals, held


@asynccontextmanager
async def stage(redis: RedisClient, account: str, trading: Mapping[str, Any] = CALM) -> AsyncIterator[Stage]:
    """A grid whose next tick books fills and places orders."""
    async with local_exchange({BTC: walk(CANDLES, seed=4)}) as server:
        first = await join_binance_desk(redis, settings(account=account, trading=PATIENT), server)
        trader = await first.trader()
        await trader.tick()
        await trader.tick()
        for _ in range(CANDLES):
            if len((await server.record()).trades) >= ENTRIES + 3:
                break
            await server.advance(1)
        await trader.end_lease()
        await first.close()
        desk = await join_binance_desk(redis, own_settings(account, trading), server)
        yield Stage(account, server, desk)
        await desk.close()


async def ended(process: BaseProcess) -> int:
    """Exit code of a worker, with this loop (and the exchange in it) going on."""
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode is not None
    return process.exitcode


async def test_killed_at_every_wait_of_a_tick(redis: RedisClient, redis_url: str) -> None:
    """SIGKILL at the first, second, … last wait; each time the books end as they do without a kill."""
    async with stage(redis, "alive") as healthy:
        code = await ended(start_worker(redis_url, healthy.server.url, "alive", CALM))
        assert code > LIVED
        waits = code - LIVED
        wanted = await healthy.trade_on()
    turns = asyncio.Semaphore(AT_ONCE)

    async def killed_at(life: int) -> int:
        account = f"k{life}"
        async with turns, stage(redis, account) as one:
            code = await ended(start_worker(redis_url, one.server.url, account, CALM, life=life))
            assert await one.trade_on() == wanted, f"other books after a kill at wait {life}"
            return code

    assert waits > 10
    codes = await asyncio.gather(*(killed_at(life) for life in range(1, waits + 1)))
    assert codes.count(-signal.SIGKILL) >= waits - 2  # how often a tick waits differs by one or two


def is_stopped(pid: int) -> bool:
    """Whether the process stands still by SIGSTOP."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


async def stopped(process: BaseProcess) -> int:
    """Wait until the worker stands still; its process id."""
    assert process.pid is not None
    for _ in range(600):
        if is_stopped(process.pid):
            return process.pid
        await asyncio.sleep(0.02)
    raise AssertionError("the worker never stood still")


def fenced_off_after(step: str) -> int:
    """Exit code of a worker that the first script after `step` refuses: of booking, reserving or ending the tick.

    One that stood still before it read the exchange finds orders that its old journal does not have: it is refused
    when it would journal them.
    """
    if step == "begun":
        return FENCED_OFF + STEPS.index("read") + 1
    last = next(last for last in ("evidence", "cancelled", "sent") if STEPS.index(step) <= STEPS.index(last))
    return FENCED_OFF + STEPS.index(last) + 1


async def frozen_at(redis: RedisClient, redis_url: str, step: str) -> None:
    """Freeze a worker at `step`, let another trade on for longer than lease and protection, then let it go on.

    A script refuses it, nothing that it does changes anything, and what it would send too late stays unsent.
    """
    account = f"f-{step}"
    async with stage(redis, account, SHORT) as one:
        process = start_worker(redis_url, one.server.url, account, SHORT, frozen_step=step)
        pid = await stopped(process)
        await asyncio.sleep(1.1)  # its lease is over
        other = await one.trader()
        await settle(other)
        await asyncio.sleep(0.9)
        await other.tick()
        one.move_money(PLENTY)  # no request of the late worker can fail for want of it
        before, held = await one.server.record(), await one.held()
        os.kill(pid, signal.SIGCONT)
        code = await ended(process)
        assert code > LIVED if step == "finished" else code == fenced_off_after(step), (step, code)
        after = await one.server.record()
        sent = [row for row in after.requests[len(before.requests) :] if row.method == "POST"]
        assert sent == [], "a late order was sent"
        assert after.events == before.events, "a late worker changed the exchange's book"
        assert await one.held() == held, "a late worker changed our books"
        one.move_money(-PLENTY)
        assert sent_twice(after) == {}
        await one.trade_on()


async def test_frozen_at_every_step(redis: RedisClient, redis_url: str) -> None:
    """A late worker's scripts are refused by their fence, and it sends no late order; never two orders in a slot."""
    await asyncio.gather(*(frozen_at(redis, redis_url, step) for step in STEPS))


async def test_flushed_in_the_middle(redis: RedisClient, redis_url: str) -> None:
    """FLUSHALL between two ticks: after recovery the books are those of the undisturbed run."""
    async with stage(redis, "calm") as calm:
        wanted = await calm.trade_on()
    async with stage(redis, "wiped") as wiped:
        trader = await wiped.trader()
        await trader.tick()
        await connect_and_flush(redis_url)
        assert await wiped.trade_on() == wanted


async def three_symbols(redis: RedisClient, redis_url: str, account: str, flushed: bool) -> list[Any]:
    """Three grids out of one pot for 60 candles, Redis wiped after half of them or not; their books, and the pot's."""
    symbols = dict.fromkeys(THREE, own_settings(account, CALM).symbols[BTC].model_dump())
    # Equal shares: a pot that is opened anew shares by what the symbols have earned until then.
    own = own_settings(account, CALM, symbols=symbols, allocation_strategy="equal")
    candles = {symbol: walk(60, seed=number) for number, symbol in enumerate(THREE, start=5)}
    async with local_exchange(candles, Config(weight_limit=10**6, orders_per_10s=10**4)) as server:
        desk = await join_binance_desk(redis, own, server)
        traders = [await desk.trader(symbol) for symbol in THREE]
        for minute in range(60):
            for trader in traders:
                await trader.tick()
            await server.advance(1)
            if flushed and minute == 30:
                await connect_and_flush(redis_url)
                await open_books(desk.desk, await desk.client.markets(THREE), "test")
        for trader in traders:
            await settle(trader)
        keys = desk.desk.keys
        found: list[Any] = [await books_of(redis, keys, symbol) for symbol in THREE]
        status = await desk.desk.allocator.get_global_status_summary()
        record = await server.record()
        assert sent_twice(record) == {}
        booked = [one for symbol in THREE for one in await redis.zrange(keys.seen(symbol), 0, -1)]
        assert len(booked) == len(record.trades)
        assert all(totals[6] and totals[7] for totals, _ in found), "every symbol has bought and sold"
        await desk.close()
        return [*found, status.pool_units, status.used_units, status.reserved_units]


async def test_flushed_with_three_symbols_in_one_pot(redis: RedisClient, redis_url: str) -> None:
    """Nobody trades before every symbol is rebuilt; then each one's books and the pot are those of the calm run."""
    calm = await three_symbols(redis, redis_url, "calm-three", flushed=False)
    assert await three_symbols(redis, redis_url, "wiped-three", flushed=True) == calm


async def connect_and_flush(url: str) -> None:
    """Empty the server."""
    client = connect(url)
    await client.flushall()
    await client.aclose()
