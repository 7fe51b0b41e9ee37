"""Opens a `PaperExchange`: finds or creates its market in Redis, then builds the exchange. Imports ccxt."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ExchangeUnavailable, StateError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.candles import MINUTE, ManualSeries, Series, bar_of, pack
from tasks.paper.exchange import PaperExchange
from tasks.paper.live_prices import LivePrices
from tasks.paper.market import PaperMarket, Progress
from tasks.paper.replay import FileSpan, ReplaySeries, scan
from tasks.paper.scripts import Call, OpenedSymbol, PaperKeys, Scripts
from tasks.paper.stored_market import KEEP, NewMarket, StoredMarket, check_same, market_settings, open_stored
from tasks.paper.synthetic import SyntheticSeries
from tasks.paper.units import Fees, filters_for, filters_of, to_units
from tasks.settings.model import Settings


async def open_paper_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> PaperExchange:
    """The account's paper exchange. The first caller creates its market, later callers join it.

    `beat`: keep the market's clock running as long as the exchange is open; without it, a market that is
    not used for 5 s pauses until it is opened again.
    Raises StateError where Redis holds another market, MarketDataError for a bad candle file, ExchangeUnavailable
    where live prices are configured and cannot be reached.
    """
    market, first_prices = await Opening(settings, redis, clock).open()
    exchange = _build_exchange(settings, market, first_prices)
    if beat:
        exchange.start_beating()
    return exchange


async def open_manual_exchange(
    settings: Settings,
    redis: RedisClient,
    candles: Mapping[str, Sequence[Candle]],
    clock: Clock = utc_now,
    *,
    keep: int = KEEP,
) -> PaperExchange:
    """A paper exchange over the given candles by symbol, which only `advance(n)` moves on.

    The candles go to Redis, so that `open_paper_exchange` in another process joins the same market. `keep`: how many
    filled orders, cancelled orders and trades are kept, each per symbol. Raises StateError where Redis holds another
    market.
    """
    market, first_prices = await Opening(settings, redis, clock, keep).open_manual(candles)
    return _build_exchange(settings, market, first_prices)


def _build_exchange(settings: Settings, market: PaperMarket, first_prices: Mapping[str, int]) -> PaperExchange:
    """The exchange over a market. On live prices it has the real exchange's filters, else those of `filters_for`."""
    fees = Fees(settings.exchange.maker_fee, settings.exchange.taker_fee, settings.paper.fee_currency == "base")
    filters = {
        symbol: filters_of(market.live.market(symbol)) if market.live else filters_for(symbol, from_units(price))
        for symbol, price in first_prices.items()
    }
    return PaperExchange(market, filters, fees)


class Opening:
    """Opens the market of an account, or creates it."""

    def __init__(self, settings: Settings, redis: RedisClient, clock: Clock, keep: int = KEEP) -> None:
        self.settings, self.redis, self.clock, self.keep = settings, redis, clock, keep
        self.keys = PaperKeys(Keys(settings.account))
        self.scripts = Scripts(redis)
        self.symbols = list(settings.symbols)
        self._original: set[str] = set()  # the symbols that the market was created with
        self.live = self._live_prices()

    def _live_prices(self) -> LivePrices:
        return LivePrices(self.settings.exchange.id, self.settings.exchange.api_url, self.symbols)

    @property
    def _now_ms(self) -> int:
        return to_ms(self.clock())

    async def open(self) -> tuple[PaperMarket, dict[str, int]]:
        """The configured market, and the first price (units) of every symbol.

        Raises StateError where Redis holds another market, MarketDataError for a bad candle file, ExchangeUnavailable
        where live prices are configured and cannot be reached.
        """
        wanted = market_settings(self.settings.paper)
        self.symbols += sorted(await self._retiring_symbols())
        self.live = self._live_prices()
        stored = await self._open_stored()
        if stored is None:
            stored = await self._open_stored(await self._choose_source(wanted))
        assert stored is not None
        check_same(stored, wanted, self.settings.quote, self.keys.market)
        if stored.kind == "live":
            await self.live.open()
        else:
            await self.live.close()
        if stored.kind == "manual":
            self.symbols = sorted(stored.spans)
        return await self._build_market(stored, {})

    async def _retiring_symbols(self) -> set[str]:
        """Registered symbols that are no longer configured: their orders still rest here."""
        registered = await self.redis.smembers(Keys(self.settings.account).funds_symbols)
        return {str(symbol) for symbol in registered} - set(self.symbols)

    async def open_manual(self, candles: Mapping[str, Sequence[Candle]]) -> tuple[PaperMarket, dict[str, int]]:
        """A market over these candles, or the existing one over the same symbols. Raises StateError for any other."""
        new = NewMarket({"market": "manual"}, "manual", "candles given by hand", {symbol: [] for symbol in candles})
        stored = await self._open_stored(new)
        assert stored is not None
        if stored.kind != "manual" or sorted(stored.spans) != sorted(candles):
            raise StateError(
                f"Redis holds another paper market ({self.keys.market}): {stored.kind}, {', '.join(stored.spans)}"
            )
        self.symbols = list(candles)
        return await self._build_market(stored, candles)

    async def _open_stored(self, new: NewMarket | None = None) -> StoredMarket | None:
        now_ms = self._now_ms
        args: list[str] = []
        if new is not None:
            args = new.script_args(now_ms, self.settings.quote, to_units(self.settings.total_funds), self.keep)
        stored = await open_stored(self.scripts, self.keys, now_ms, args)
        if stored is not None and stored.keep > self.keep:  # an earlier version wrote it
            await self.redis.hset(self.keys.market, "keep", self.keep)
        return stored

    async def _choose_source(self, wanted: dict[str, str]) -> NewMarket:
        kind = wanted["market"]
        spans: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in self.symbols}
        if kind == "replay":
            spans = {symbol: [span.record() for span in await self._scan_files(symbol)] for symbol in self.symbols}
        if kind == "live":
            await self.live.open()
        if kind != "auto":
            return NewMarket(wanted, kind, "as configured (paper.market)", spans)
        try:
            await self.live.open()
        except ExchangeUnavailable as error:
            return NewMarket(wanted, "synthetic", f"auto: live prices not reachable, {error}", spans)
        return NewMarket(wanted, "live", f"auto: {self.settings.exchange.id} answered", spans)

    async def _scan_files(self, symbol: str) -> list[FileSpan]:
        return await asyncio.to_thread(scan, Path(self.settings.paper.data or "."), symbol)

    async def _build_market(
        self, stored: StoredMarket, candles: Mapping[str, Sequence[Candle]]
    ) -> tuple[PaperMarket, dict[str, int]]:
        series: dict[str, Series] = {}
        self._original = set(stored.spans)
        for symbol in self.symbols:
            series[symbol] = await self._series(stored, symbol)
        polled = await self.live.prices() if stored.kind == "live" else {}
        calls = []
        for symbol in self.symbols:
            packed = [pack(bar_of(candle)) for candle in candles.get(symbol, ())]
            if symbol in polled:
                start = ["0", str(to_units(polled[symbol])), str(self._now_ms)]
            elif candles:
                first = bar_of(candles[symbol][0])
                start = ["0", str(first.open), str(first.at)]
            else:
                start = await self._first_candle(stored, series[symbol], symbol)
            keys = [self.keys.state(symbol), self.keys.balances, self.keys.candles(symbol)]
            calls.append(Call("open_symbol", keys, [*start, *symbol.split("/"), *packed]))
        replies = [OpenedSymbol(*map(int, reply)) for reply in await self.scripts.run(calls)]
        opened = dict(zip(self.symbols, replies, strict=True))
        progress = {symbol: Progress(reply.cursor, reply.last) for symbol, reply in opened.items()}
        first_prices = {symbol: reply.first for symbol, reply in opened.items()}
        live = self.live if stored.kind == "live" else None
        return PaperMarket(self.scripts, self.keys, stored, series, progress, self.clock, live), first_prices

    async def _series(self, stored: StoredMarket, symbol: str) -> Series:
        if stored.kind == "replay":
            if symbol not in stored.spans:
                await self._add_spans(stored, symbol)
            return ReplaySeries([FileSpan(**span) for span in stored.spans[symbol]])
        if stored.kind == "synthetic":
            return SyntheticSeries(stored.seed, symbol, stored.started // MINUTE * MINUTE)
        return ManualSeries(self.redis, self.keys.candles(symbol))

    async def _add_spans(self, stored: StoredMarket, symbol: str) -> None:
        """Read the candle files of a symbol that was configured later; it starts where the market's clock is."""
        stored.spans[symbol] = [span.record() for span in await self._scan_files(symbol)]
        added = {name: spans for name, spans in stored.spans.items() if name != symbol} | {symbol: stored.spans[symbol]}
        await self.redis.hset(self.keys.market, "spans", json.dumps(added))

    async def _first_candle(self, stored: StoredMarket, series: Series, symbol: str) -> list[str]:
        """Cursor, price and market time at which a symbol of a synthetic or replayed market begins."""
        length = await series.length()
        reached = stored.clock.candles_complete(self._now_ms) if symbol not in self._original else 0
        cursor = reached if length is None else min(reached, length)
        bars = await series.bars(max(cursor - 1, 0), max(cursor, 1))
        price = bars[0].close if cursor else bars[0].open
        return [str(cursor), str(price), str(bars[0].at)]
