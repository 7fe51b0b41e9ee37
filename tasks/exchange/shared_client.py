"""Tickers and open orders of all symbols, read once and shared by all symbols and processes.

A reading is cached in Redis with the time it was requested at. A process that finds it too old takes a short lock
and reads anew; the others wait for its answer (single flight).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ExchangeUnavailable, UnknownSymbol
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.client import CcxtClient
from tasks.exchange.limits.priority import Priority, call_scope
from tasks.exchange.models import Order, Ticker

log = logging.getLogger(__name__)
_TICKERS = TypeAdapter(dict[str, Ticker])
_ORDERS = TypeAdapter(dict[str, list[Order]])
_POLL_SECONDS = 0.02
_MAX_WAIT_SECONDS = 10.0
_BUDGET_WAIT_SECONDS = 5.0
_SHARE_OF_LOCK = 0.9  # a reading is given up after this share of its lock, so that the lock never ends before it
_KEPT_MS = 60_000
_REFUSED_MS = 600_000  # how long a symbol that the exchange does not know is left out
_LOCKED = 1  # answer of read_shared.lua


class Reading(StrEnum):
    """What is shared. Open orders come first: what fills between the two readings then shows in the trades."""

    ORDERS = "orders"
    TICKERS = "tickers"


class SharedReads(CcxtClient):
    """A client whose tickers and open orders are shared between symbols and processes."""

    def __init__(
        self,
        exchange: Any,
        redis: RedisClient,
        keys: Keys,
        symbols: Sequence[str],
        max_age_ms: int,
        clock: Clock = utc_now,
        lock_ms: int = 10_000,
    ) -> None:
        """`max_age_ms`: age of the oldest reading to use. `lock_ms`: how long a reader that died blocks the others."""
        super().__init__(exchange)
        self._keys, self._symbols, self._max_age_ms, self._clock = keys, list(symbols), max_age_ms, clock
        self._lock_ms = lock_ms
        self._refused_until: dict[str, int] = {}  # symbols that the exchange did not know → when to ask again (ms)
        self._look_up = script(redis, "tasks.exchange", "read_shared")
        self._publish = script(redis, "tasks.exchange", "publish_shared")
        self._read_by: dict[Reading, Callable[[], Awaitable[str]]] = {
            Reading.ORDERS: self._read_orders,
            Reading.TICKERS: self._read_tickers,
        }

    async def open_orders(self, symbol: str, not_before_ms: int = 0) -> list[Order]:
        """The symbol's resting orders as of `not_before_ms` or later; one request for all if that is cheaper."""
        if not self._shares_orders:
            return await super().open_orders(symbol)
        return self._orders(symbol, await self._readings({Reading.ORDERS: not_before_ms}))

    async def ticker(self, symbol: str) -> Ticker:
        """The symbol's ticker from the shared reading.

        Reads it alone if the symbol is not traded or the reading lacks it: a worker with other settings reads other
        symbols.
        """
        if symbol not in self._symbols:
            return await super().ticker(symbol)
        return await self._ticker(symbol, await self._readings({Reading.TICKERS: 0}))

    async def orders_and_ticker(self, symbol: str, not_before_ms: int = 0) -> tuple[list[Order], Ticker]:
        """Both at once: one look at Redis, and one more where this process has to read the exchange."""
        if not self._shares_orders or symbol not in self._symbols:
            return await super().orders_and_ticker(symbol, not_before_ms)
        found = await self._readings({Reading.ORDERS: not_before_ms, Reading.TICKERS: 0})
        return self._orders(symbol, found), await self._ticker(symbol, found)

    @property
    def _shares_orders(self) -> bool:
        return self.lists_all_orders(len(self._symbols))

    def _orders(self, symbol: str, found: Mapping[Reading, str]) -> list[Order]:
        return _ORDERS.validate_json(found[Reading.ORDERS]).get(symbol, [])

    async def _ticker(self, symbol: str, found: Mapping[Reading, str]) -> Ticker:
        ticker = _TICKERS.validate_json(found[Reading.TICKERS]).get(symbol)
        if ticker is None and self._is_refused(symbol):
            raise UnknownSymbol(f"{symbol}: the exchange does not know the symbol; it may be delisted")
        return ticker or await super().ticker(symbol)

    async def _read_tickers(self) -> str:
        known = [symbol for symbol in self._symbols if not self._is_refused(symbol)]
        return _TICKERS.dump_json(await self._known_tickers(known)).decode()

    async def _known_tickers(self, symbols: Sequence[str]) -> dict[str, Ticker]:
        """The tickers of those symbols that the exchange knows; the others are not asked for again for a while.

        An exchange may refuse a request for one bad symbol in it, without naming it: each half is asked for then.
        """
        if not symbols:
            return {}
        try:
            return await self.tickers(symbols)
        except UnknownSymbol:
            if len(symbols) == 1:
                self._refused_until[symbols[0]] = to_ms(self._clock()) + _REFUSED_MS
                log.error("the exchange does not know the symbol", extra={"symbol": symbols[0]})
                return {}
        middle = len(symbols) // 2
        return await self._known_tickers(symbols[:middle]) | await self._known_tickers(symbols[middle:])

    def _is_refused(self, symbol: str) -> bool:
        return to_ms(self._clock()) < self._refused_until.get(symbol, 0)

    async def _read_orders(self) -> str:
        by_symbol: dict[str, list[Order]] = {}
        for order in await self.all_open_orders():
            by_symbol.setdefault(order.symbol, []).append(order)
        return _ORDERS.dump_json(by_symbol).decode()

    async def _readings(self, not_before: Mapping[Reading, int]) -> dict[Reading, str]:
        """The bodies of readings that are new enough. Raises ExchangeUnavailable."""
        found: dict[Reading, str] = {}
        oldest = to_ms(self._clock()) - self._max_age_ms
        waited, token = 0.0, uuid4().hex
        while True:
            missing = [kind for kind in not_before if kind not in found]
            args: list[str | int] = [token, self._lock_ms, *(max(oldest, not_before[kind]) for kind in missing)]
            answers = await self._look_up(keys=self._names(missing), args=args)
            found |= {kind: body for kind, body in zip(missing, answers, strict=True) if isinstance(body, str)}
            locked = [kind for kind, answer in zip(missing, answers, strict=True) if answer == _LOCKED]
            found |= await self._read_locked(locked, token) if locked else {}
            if len(found) == len(not_before):
                return found
            if waited >= _MAX_WAIT_SECONDS:
                names = " and ".join(kind for kind in not_before if kind not in found)
                raise ExchangeUnavailable(f"no reading of {names} was finished within {_MAX_WAIT_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS

    def _names(self, kinds: Sequence[Reading]) -> list[str]:
        name = self._keys.shared_reading
        return [key for kind in kinds for key in (name(kind), name(kind, "lock"))]

    async def _read_locked(self, kinds: Sequence[Reading], token: str) -> dict[Reading, str]:
        """Read the exchange and publish what was read; the locks are given back however it ends."""
        seconds = self._lock_ms / 1000 * _SHARE_OF_LOCK
        read: dict[Reading, tuple[int, str]] = {}
        try:
            async with asyncio.timeout(seconds):
                with call_scope(Priority.READ, _BUDGET_WAIT_SECONDS):
                    for kind in kinds:
                        requested_ms = to_ms(self._clock())
                        read[kind] = (requested_ms, await self._read_by[kind]())
        except TimeoutError as error:
            raise ExchangeUnavailable(f"the reading did not end within {seconds:.1f} s") from error
        finally:
            rows = [part for kind in kinds for part in read.get(kind, (0, ""))]
            await self._publish(keys=self._names(kinds), args=[token, _KEPT_MS, *rows])
        return {kind: body for kind, (_, body) in read.items()}
