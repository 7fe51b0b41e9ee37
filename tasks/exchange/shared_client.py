"""One look at the market for everybody: tickers and open orders of all symbols, read once a round by all processes.

A reading lies in Redis with the moment it was asked for. Whoever finds it too old takes a short lock and asks the
exchange; the others wait for that answer (single flight).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ExchangeUnavailable
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.limits.call_class import CallClass, call_class
from tasks.exchange.models import Balance, Candle, Market, Order, OrderRequest, Placement, Ticker, Trade

_TICKERS = TypeAdapter(dict[str, Ticker])
_ORDERS = TypeAdapter(dict[str, list[Order]])
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0
_ASK_SECONDS = 5.0  # patience with the rate budget
_SHARE_OF_LOCK = 0.9  # a reading that takes longer is given up: the lock never ends before it


class SharedReads:
    """`ExchangePort` over a client, whose tickers and open orders are shared between symbols and processes."""

    def __init__(
        self,
        client: CcxtClient,
        redis: RedisClient,
        keys: Keys,
        symbols: Sequence[str],
        max_age_ms: int,
        clock: Clock = utc_now,
        lock_ms: int = 10_000,
    ) -> None:
        """`lock_ms`: for so long a process that died while it asked keeps the others waiting."""
        self._client, self._redis, self._keys = client, redis, keys
        self._symbols, self._max_age_ms, self._clock = list(symbols), max_age_ms, clock
        self._lock_ms = lock_ms

    async def ticker(self, symbol: str) -> Ticker:
        """The symbol's ticker out of the shared reading.

        A symbol that is not traded is asked for by itself, and so is one that the reading lacks: a worker that started
        before the symbol came, or with another file, does not ask for it.
        """
        if symbol not in self._symbols:
            return await self._client.ticker(symbol)
        text = await self._reading("tickers", 0, self._ask_tickers)
        found = _TICKERS.validate_json(text).get(symbol)
        return found or await self._client.ticker(symbol)

    async def _ask_tickers(self) -> str:
        return _TICKERS.dump_json(await self._client.tickers(self._symbols)).decode()

    async def open_orders(self, symbol: str, not_before_ms: int = 0) -> list[Order]:
        """The symbol's resting orders as of `not_before_ms` or later; one call for all where that is lighter."""
        if not self._client.lists_all_orders(len(self._symbols)):
            return await self._client.open_orders(symbol)
        text = await self._reading("orders", not_before_ms, self._ask_orders)
        return _ORDERS.validate_json(text).get(symbol, [])

    async def _ask_orders(self) -> str:
        by_symbol: dict[str, list[Order]] = {}
        for order in await self._client.all_open_orders():
            by_symbol.setdefault(order.symbol, []).append(order)
        return _ORDERS.dump_json(by_symbol).decode()

    async def _reading(self, kind: str, not_before_ms: int, ask: Callable[[], Awaitable[str]]) -> str:
        key, lock = self._keys.board(kind), self._keys.board(kind, "lock")
        oldest = max(to_ms(self._clock()) - self._max_age_ms, not_before_ms)
        waited = 0.0
        while True:
            stored: dict[str, Any] = json.loads(await self._redis.get(key) or "{}")
            if stored and stored["asked_ms"] >= oldest:
                return str(stored["body"])
            token = uuid4().hex
            if await self._redis.set(lock, token, nx=True, px=self._lock_ms):
                return await self._ask(key, lock, token, ask)
            if waited >= _PATIENCE_SECONDS:
                raise ExchangeUnavailable(f"nobody's reading of {kind} came back within {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS

    async def _ask(self, key: str, lock: str, token: str, ask: Callable[[], Awaitable[str]]) -> str:
        asked_ms = to_ms(self._clock())
        seconds = self._lock_ms / 1000 * _SHARE_OF_LOCK
        try:
            async with asyncio.timeout(seconds):
                with call_class(CallClass.READ, _ASK_SECONDS):
                    body = await ask()
                await self._redis.set(key, json.dumps({"asked_ms": asked_ms, "body": body}), px=60_000)
            return body
        except TimeoutError as error:
            raise ExchangeUnavailable(f"the reading did not end within {seconds:.1f} s") from error
        finally:
            if await self._redis.get(lock) == token:  # else it ran out, and is somebody else's now
                await self._redis.delete(lock)

    @property
    def apart_from_redis(self) -> bool:
        """See ExchangePort."""
        return self._client.apart_from_redis

    # --- everything else goes straight through -----------------------------------------------------------
    async def markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """See ExchangePort."""
        return await self._client.markets(symbols)

    async def place(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        """See ExchangePort."""
        return await self._client.place(requests)

    async def cancel(self, symbol: str, exchange_ids: Sequence[str]) -> None:
        """See ExchangePort."""
        await self._client.cancel(symbol, exchange_ids)

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        """See ExchangePort."""
        return await self._client.order(symbol, client_id, exchange_id)

    async def orders(self, symbol: str) -> list[Order]:
        """See ExchangePort."""
        return await self._client.orders(symbol)

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """See ExchangePort."""
        return await self._client.trades(symbol, since_ms)

    async def balances(self) -> Mapping[str, Balance]:
        """See ExchangePort."""
        return await self._client.balances()

    async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
        """See ExchangePort."""
        return await self._client.candles(symbol, since_ms, limit)

    async def close(self) -> None:
        """See ExchangePort."""
        await self._client.close()
