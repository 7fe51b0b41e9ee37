"""The paper exchange without its orders: start and close, market data, balances."""

# ruff: noqa: ARG002  (the signatures are ccxt's)

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from ccxt.async_support.base.exchange import Exchange
from ccxt.base.errors import BadRequest, ExchangeNotAvailable, RequestTimeout
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tasks.base.cancelling import cancel_and_wait
from tasks.paper import candles
from tasks.paper import ccxt_shapes as shapes
from tasks.paper.market import Operation, PaperMarket, reading
from tasks.paper.scripts import Answer
from tasks.paper.units import Fees, Filters

BEAT_SECONDS = 1.0


class PaperMarketData(Exchange):
    """Everything but orders. `close` stops it; the Redis client stays open, for the caller to close."""

    def __init__(self, paper: PaperMarket, filters: Mapping[str, Filters], fees: Fees) -> None:
        super().__init__({"enableRateLimit": False})
        self.paper, self._filters, self._fees = paper, dict(filters), fees
        self._beating: asyncio.Task[None] | None = None
        self.set_markets([shapes.market(self, symbol, filters[symbol], fees) for symbol in filters])

    def describe(self) -> dict[str, Any]:
        """ccxt's description of the exchange."""
        own = {
            "id": "paper",
            "name": "Gridflow paper exchange",
            "countries": [],
            "rateLimit": 0,
            "certified": False,
            "pro": False,
            "has": shapes.HAS,
            "timeframes": {name: name for name in candles.TIMEFRAMES},
            "urls": {"api": {}},
            "requiredCredentials": {"apiKey": False, "secret": False},
            "precisionMode": 4,  # TICK_SIZE
        }
        return dict(self.deep_extend(super().describe(), own))

    # --- start and close ------------------------------------------------------------------------------------------
    def start_beating(self) -> None:
        """Keep the market's clock running until `close`: marks the market as in use each second."""
        if self._beating is None and self.paper.stored.kind in {"replay", "synthetic"}:
            self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(RedisConnectionError, RedisTimeoutError):
                await self.paper.beat()

    async def close(self, clean_instance_data: bool = False) -> None:
        """Stop marking the market as in use, and close the connection for live prices."""
        if self._beating is not None:
            await cancel_and_wait({self._beating})
            self._beating = None
        if self.paper.live is not None:
            await self.paper.live.close()

    async def advance(self, count: int = 1, symbol: str | None = None) -> None:
        """Advance a manual market by `count` candles, in one symbol or in all. Raises BadRequest for other markets."""
        if self.paper.stored.kind != "manual":
            raise BadRequest(f"a {self.paper.stored.kind} market follows its clock; only a manual one can be advanced")
        for name in [symbol] if symbol else self.symbols:
            async with self._ccxt_errors():
                await self.paper.advance(name, count)

    def milliseconds(self) -> int:
        """This process's clock in ms."""
        return self.paper.now_ms

    # --- calls --------------------------------------------------------------------------------------
    @asynccontextmanager
    async def _ccxt_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except RedisTimeoutError as error:
            raise RequestTimeout(f"paper {error}") from error
        except RedisConnectionError as error:
            raise ExchangeNotAvailable(f"paper {error}") from error

    async def _run(self, *operations: Operation) -> list[Answer]:
        async with self._ccxt_errors():
            return await self.paper.run(*operations)

    async def _read(self, symbol: str, *args: str) -> Answer:
        return (await self._run(reading(self._symbol(symbol), *args)))[0]

    def _symbol(self, symbol: str | None) -> str:
        if symbol is None:
            raise BadRequest("paper needs a symbol here")
        return str(self.market(symbol)["symbol"])  # raises BadSymbol

    def _symbols(self, symbols: Sequence[str] | str | None) -> list[str]:
        names = [symbols] if isinstance(symbols, str) else symbols
        return [self._symbol(name) for name in names] if names else list(self.symbols)

    # --- market data -----------------------------------------------------------------------------------
    async def fetch_markets(self, params: Any = None) -> list[dict[str, Any]]:
        """The symbols that were opened, with their filters."""
        return [shapes.market(self, symbol, self._filters[symbol], self._fees) for symbol in self._filters]

    async def fetch_time(self, params: Any = None) -> int:
        """The exchange's clock in ms."""
        return (await self._read(self.symbols[0], "ticker")).now_ms

    async def fetch_status(self, params: Any = None) -> dict[str, Any]:
        """Always ok. `info`: the market, why it was chosen, how far it is, and whether its data have ended."""
        answers = await self._run(*(reading(symbol, "ticker") for symbol in self.symbols))
        stored = self.paper.stored
        info: dict[str, Any] = {"source": stored.kind, "why": stored.reason, **stored.settings, "symbols": {}}
        for symbol, answer in zip(self.symbols, answers, strict=True):
            length = await self.paper.series[symbol].length() if stored.kind != "live" else None
            ended = length is not None and answer.cursor >= length
            where = {"candlesDone": answer.cursor, "candles": length, "candleTime": answer.market_ms, "ended": ended}
            info["symbols"][symbol] = where
        info["standing_still"] = all(where["ended"] for where in info["symbols"].values())
        return {"status": "ok", "updated": answers[0].now_ms, "eta": None, "url": None, "info": info}

    async def fetch_ticker(self, symbol: str, params: Any = None) -> dict[str, Any]:
        """Bid = ask = last: the close of the last complete candle."""
        tickers = await self.fetch_tickers([symbol])
        return dict(tickers[symbol])

    async def fetch_tickers(self, symbols: Sequence[str] | None = None, params: Any = None) -> dict[str, Any]:
        """Tickers by symbol, one round trip for all."""
        names = self._symbols(symbols)
        answers = await self._run(*(reading(name, "ticker") for name in names))
        return {
            name: shapes.ticker(self, name, answer.last, answer.now_ms, answer.market_ms)
            for name, answer in zip(names, answers, strict=True)
        }

    async def fetch_order_book(self, symbol: str, limit: int | None = None, params: Any = None) -> dict[str, Any]:
        """An artificial book, one tick wide, around the last price."""
        answer = await self._read(symbol, "ticker")
        return shapes.order_book(self, symbol, self._filters[symbol], answer.last, answer.now_ms, limit or 5)

    async def fetch_ohlcv(
        self, symbol: str, timeframe: str = "1m", since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[list[Any]]:
        """Complete candles, in market time (see `candles.rows`). Raises BadRequest for an unknown timeframe."""
        name = self._symbol(symbol)
        if timeframe not in candles.TIMEFRAMES:
            raise BadRequest(f"timeframe {timeframe}: one of {', '.join(candles.TIMEFRAMES)}")
        if self.paper.live is not None:
            return await self.paper.live.ohlcv(name, timeframe, since, limit)
        answer = await self._read(name, "ticker")
        return await candles.rows(self.paper.series[name], answer.cursor, timeframe, since, limit)

    # --- account ---------------------------------------------------------------------------------------
    async def fetch_balance(self, params: Any = None) -> dict[str, Any]:
        """Free, used (locked by resting orders) and total by currency."""
        operations = [reading(symbol, "ticker") for symbol in self.symbols[:-1]]
        answers = await self._run(*operations, reading(self.symbols[-1], "balance"))
        return shapes.balance(self, answers[-1].texts, answers[-1].now_ms)

    async def fetch_trading_fee(self, symbol: str, params: Any = None) -> dict[str, Any]:
        """Maker and taker fee as a share. Makes no network call."""
        return shapes.trading_fee(self, self._symbol(symbol), self._fees)

    async def fetch_trading_fees(self, params: Any = None) -> dict[str, Any]:
        """Fees by symbol."""
        return {symbol: shapes.trading_fee(self, symbol, self._fees) for symbol in self.symbols}
