"""The worker at the end of a fault run: ticks every symbol until all orders are settled and follow the allocations."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.base.errors import GridflowError, RedisRestarted, StateError
from tasks.exchange.models import Market
from tasks.funds.store import registered_symbols
from tasks.ledger.base_guard import coin_of
from tasks.ledger.models import Book
from tasks.ledger.store import read_holdings
from tasks.tick.active_symbols import active_symbols
from tasks.tick.base_return import return_base
from tasks.tick.listing import market_of_symbol
from tasks.tick.models import TickReport
from tasks.tick.monitor import run_monitor
from tasks.tick.trader import GridTrader
from tasks.tick.window import BreakerOpen
from tasks.tick.write_off import write_off
from tests.support.binance.desk import BinanceDesk
from tests.support.fault_check import Tick
from tests.support.fault_draw import SYMBOLS
from tests.support.fault_end import still_to_do

TICK_SECONDS = 2.0
MOST_TICKS = 60  # of each symbol, until orders follow settings and allocations
MOST_MINUTES_SHORT = 8  # until base that is gone has left the books
_MONITOR_EVERY = 10  # ticks
_MAX_SETTLE_TICKS = 120
_MAX_WRITE_OFFS = 20


@dataclass
class Crew:
    """One worker process and its traders, by symbol. `how`: returns the tick function of a trader."""

    worker: BinanceDesk
    how: Callable[[GridTrader], Tick]
    ticks: dict[str, Tick] = field(default_factory=dict)

    async def tick(self) -> dict[str, TickReport | None]:
        """Tick each active symbol once. Returns the reports by symbol; None for a failed tick."""
        desk = self.worker.desk
        await desk.follow_settings()
        return {symbol: await self._tick(symbol) for symbol in await active_symbols(desk)}

    async def _tick(self, symbol: str) -> TickReport | None:
        try:
            if symbol not in self.ticks:
                await market_of_symbol(self.worker.desk, symbol)  # as a live worker: it notes what is not listed
                self.ticks[symbol] = self.how(await self.worker.trader(symbol, f"survivor {symbol}"))
            return await self.ticks[symbol]()
        except BreakerOpen as closed:
            await asyncio.sleep(closed.wait_seconds)
        except GridflowError:  # the symbol has left, or the tick failed; the next tick reads everything again
            pass
        return None

    async def let_base_go(self, listed: Collection[str]) -> None:
        """Tick and monitor until no cell of the `listed` symbols holds base that the account does not hold.

        Raises AssertionError where that takes too long.
        """
        desk = self.worker.desk
        for _ in range(MOST_MINUTES_SHORT):
            for _ in range(3):
                await self.tick()
                await asyncio.sleep(20)
            await run_monitor(desk)
            await self.tick()
            holdings = await read_holdings(
                desk.redis, desk.keys, [one for one in await active_symbols(desk) if one in listed]
            )
            balances = await desk.exchange.balances()
            short = [
                symbol
                for symbol, own in holdings.items()
                if (found := balances.get(coin_of(symbol))) is not None and own.held > found.free + found.locked
            ]
            if not short:
                return
        raise AssertionError(f"the books still hold base that is gone: {short}")

    async def take_back(self, taken: Mapping[str, Decimal]) -> int:
        """Take base that the books call missing, and that is on the account again, back in, as an operator does.

        `taken`: what was withdrawn or paid unseen in all, by coin. Returns for how many symbols.
        Raises AssertionError where the books miss more than that.
        """
        desk, found = self.worker.desk, 0
        for symbol in await active_symbols(desk):
            text = await desk.redis.get(desk.keys.book(symbol))
            missing = Book.model_validate_json(text).missing_base if text else Decimal(0)
            assert missing <= taken.get(coin_of(symbol), Decimal(0)), f"{symbol}: {missing} is missing, more than taken"
            if missing > 0:
                found += 1
                held = (await read_holdings(desk.redis, desk.keys, [symbol]))[symbol].held
                balance = (await desk.exchange.balances())[coin_of(symbol)]
                back = min(missing, balance.free + balance.locked - held)  # fees may have been paid from it meanwhile
                if back > 0:
                    await return_base(desk, symbol, back, again=True, seconds=0)
        return found

    async def write_off(self, symbols: Sequence[str]) -> None:
        """Write off what delisted symbols hold, as an operator does; a symbol that holds nothing leaves by itself."""
        desk = self.worker.desk
        await desk.exchange.refreshed_markets(SYMBOLS)
        await run_monitor(desk)
        left = set(symbols) & set(await registered_symbols(desk.redis, keys=desk.keys))
        for symbol in sorted(left, key=SYMBOLS.index):  # BNB, the payer of the others' fees comes last
            await self._write_off(symbol)

    async def _write_off(self, symbol: str) -> None:
        for _ in range(_MAX_WRITE_OFFS):
            try:
                await write_off(self.worker.desk, symbol, f"write-off {symbol}")
            except RedisRestarted:
                await self.tick()  # compares the books with the exchange
            except StateError:
                await asyncio.sleep(TICK_SECONDS)  # somebody holds the lease, or fees of another symbol have no worth
                await self.tick()
            else:
                return
        raise AssertionError(f"{symbol}: never written off")

    async def settle(self) -> None:
        """Tick until every symbol ticks, the outcome of every order is known and two ticks in a row change nothing.

        Raises AssertionError, and names what is left, where that takes more than _MAX_SETTLE_TICKS.
        """
        quiet, left = 0, ["nothing was ticked"]
        for _ in range(_MAX_SETTLE_TICKS):
            await asyncio.sleep(TICK_SECONDS)
            reports = await self.tick()
            left = [f"{symbol} does not tick" for symbol, report in reports.items() if report is None]
            left += [
                f"{symbol} goes on placing" for symbol, one in reports.items() if one and (one.fills or one.placed)
            ]
            left += [f"in doubt: {client_id}" for client_id in await self._in_doubt()]
            quiet = 0 if left else quiet + 1
            if quiet >= 2:
                return
        raise AssertionError(f"not settled within {_MAX_SETTLE_TICKS * TICK_SECONDS:.0f} s: {'; '.join(left)}")

    async def _in_doubt(self) -> list[str]:
        """Client ids of the orders whose outcome is unknown."""
        desk, found = self.worker.desk, []
        for symbol in await active_symbols(desk):
            for client_id, text in sorted((await desk.redis.hgetall(desk.keys.intents(symbol))).items()):
                if '"state":"INTENT"' in str(text) or '"state":"UNKNOWN"' in str(text):
                    found.append(str(client_id))
        return found

    async def follow(self, prices: Callable[[], Mapping[str, Decimal]], markets: Mapping[str, Market]) -> None:
        """Tick until orders follow settings and allocations, then settle. Runs the monitor now and then.

        Raises AssertionError where that takes more than MOST_TICKS, or where settling undoes it.
        """
        for turn in range(MOST_TICKS):
            if turn % _MONITOR_EVERY == 0:
                await run_monitor(self.worker.desk)
            await self.tick()
            await asyncio.sleep(TICK_SECONDS)
            if not await still_to_do(self.worker.desk, prices(), markets):
                break
        await self.settle()
        left = await still_to_do(self.worker.desk, prices(), markets)
        assert left == [], f"not followed: {'; '.join(left)}"
