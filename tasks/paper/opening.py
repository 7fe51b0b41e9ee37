"""Opens a `PaperExchange`: finds or creates its market in Redis, then builds the exchange. Imports ccxt."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ExchangeUnavailable, StateError
from tasks.base.keys import Keys
from tasks.base.redis import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.candles import MINUTE, ManualSeries, Series, bar_of, pack, price_of
from tasks.paper.exchange import PaperExchange
from tasks.paper.live_prices import LivePrices
from tasks.paper.market import PaperMarket, View
from tasks.paper.replay import FileSpan, ReplaySeries, scan
from tasks.paper.scripts import Call, PaperKeys, Scripts
from tasks.paper.stored_market import KEEP, NewMarket, StoredMarket, asked_of, check_same, open_stored
from tasks.paper.synthetic import SyntheticSeries
from tasks.paper.units import Fees, filters_for, filters_of, to_units
from tasks.settings.model import Settings


async def open_paper_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> PaperExchange:
    """The account's paper exchange; the first caller opens its market, later ones join it.

    `beat`: keep the market's clock running as long as the exchange is open; without it a market nobody uses for more
    than 5 s stands still until it is opened again. Raises StateError, MarketDataError, ExchangeUnavailable.
    """
    market, first_prices = await Opening(settings, redis, clock).open()
    exchange = _built(settings, market, first_prices)
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
    """A paper exchange over the given candles by symbol, moved on by `advance(n)` only.

    The candles go to Redis, so that `open_paper_exchange` in another process joins this same market. `keep`: how many
    filled orders, cancelled orders and trades are kept, each per symbol.
    """
    market, first_prices = await Opening(settings, redis, clock, keep).open_manual(candles)
    return _built(settings, market, first_prices)


def _built(settings: Settings, market: PaperMarket, first_prices: Mapping[str, int]) -> PaperExchange:
    """The exchange; on live prices with the real exchange's filters, else with known or derived ones."""
    fees = Fees(settings.exchange.maker_fee, settings.exchange.taker_fee, settings.paper.fee_currency == "base")
    filters = {
        symbol: filters_of(market.live.market(symbol)) if market.live else filters_for(symbol, price_of(price))
        for symbol, price in first_prices.items()
    }
    return PaperExchange(market, filters, fees)


class Opening:
    """One opening of the market: what it needs at hand, step by step."""

    def __init__(self, settings: Settings, redis: RedisClient, clock: Clock, keep: int = KEEP) -> None:
        self.settings, self.redis, self.clock, self.keep = settings, redis, clock, keep
        self.keys = PaperKeys(Keys(settings.account))
        self.scripts = Scripts(redis)
        self.symbols = list(settings.symbols)
        self._original: set[str] = set()  # the symbols that the market began with
        self.live = self._live_prices()

    def _live_prices(self) -> LivePrices:
        return LivePrices(self.settings.exchange.id, self.settings.exchange.api_url, self.symbols)

    @property
    def _now_ms(self) -> int:
        return to_ms(self.clock())

    async def open(self) -> tuple[PaperMarket, dict[str, int]]:
        """The market by settings, and the first price (units) of every symbol.

        Raises StateError where Redis holds another market, MarketDataError for a bad candle file, ExchangeUnavailable
        where live prices were asked for and cannot be had.
        """
        asked = asked_of(self.settings.paper)
        self.symbols += sorted(await self._leaving())
        self.live = self._live_prices()
        stored = await self._stored([])
        if stored is None:
            new = await self._chosen(asked)
            stored = await self._stored(self._fields(new))
        assert stored is not None
        check_same(stored, asked, self.settings.quote, self.keys.market)
        if stored.kind == "live":
            await self.live.open()
        else:
            await self.live.close()
        if stored.kind == "manual":
            self.symbols = sorted(stored.spans)
        return await self._ready(stored, {})

    async def _leaving(self) -> set[str]:
        """Symbols that left the settings and still hold something: their orders rest here."""
        registered = await self.redis.smembers(Keys(self.settings.account).funds_symbols)
        return {str(symbol) for symbol in registered} - set(self.symbols)

    async def open_manual(self, candles: Mapping[str, Sequence[Candle]]) -> tuple[PaperMarket, dict[str, int]]:
        """A market over these candles that only an explicit call moves on; attaches where it exists already."""
        new = NewMarket({"market": "manual"}, "manual", "candles given by hand", {symbol: [] for symbol in candles})
        stored = await self._stored(self._fields(new))
        assert stored is not None
        if stored.kind != "manual" or sorted(stored.spans) != sorted(candles):
            raise StateError(f"{self.keys.market} holds another market: {stored.kind} of {', '.join(stored.spans)}")
        self.symbols = list(candles)
        return await self._ready(stored, candles)

    async def _stored(self, fields: list[str]) -> StoredMarket | None:
        funds = to_units(self.settings.total_funds)
        return await open_stored(self.scripts, self.keys, self._now_ms, self.settings.quote, funds, fields)

    def _fields(self, new: NewMarket) -> list[str]:
        return new.fields(self._now_ms, self.settings.quote, to_units(self.settings.total_funds), self.keep)

    async def _chosen(self, asked: dict[str, str]) -> NewMarket:
        kind = asked["market"]
        spans: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in self.symbols}
        if kind == "replay":
            spans = {symbol: [span.record() for span in await self._scanned(symbol)] for symbol in self.symbols}
        if kind == "live":
            await self.live.open()
        if kind != "auto":
            return NewMarket(asked, kind, "as configured (paper.market)", spans)
        try:
            await self.live.open()
        except ExchangeUnavailable as error:
            return NewMarket(asked, "synthetic", f"auto: live prices not reachable, {error}", spans)
        return NewMarket(asked, "live", f"auto: {self.settings.exchange.id} answered", spans)

    async def _scanned(self, symbol: str) -> list[FileSpan]:
        return await asyncio.to_thread(scan, Path(self.settings.paper.data or "."), symbol)

    async def _ready(
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
                start = await self._start(stored, series[symbol], symbol)
            keys = [self.keys.state(symbol), self.keys.balances, self.keys.candles(symbol)]
            calls.append(Call("open_symbol", keys, [*start, *symbol.split("/"), *packed]))
        replies = await self.scripts.run(calls)
        views = {
            symbol: View(int(reply[0]), int(reply[1])) for symbol, reply in zip(self.symbols, replies, strict=True)
        }
        first_prices = {symbol: int(reply[2]) for symbol, reply in zip(self.symbols, replies, strict=True)}
        live = self.live if stored.kind == "live" else None
        return PaperMarket(self.scripts, self.keys, stored, series, views, self.clock, live), first_prices

    async def _series(self, stored: StoredMarket, symbol: str) -> Series:
        if stored.kind == "replay":
            if symbol not in stored.spans:
                await self._add_spans(stored, symbol)
            return ReplaySeries([FileSpan(**span) for span in stored.spans[symbol]])
        if stored.kind == "synthetic":
            return SyntheticSeries(stored.seed, symbol, stored.started // MINUTE * MINUTE)
        return ManualSeries(self.redis, self.keys.candles(symbol))

    async def _add_spans(self, stored: StoredMarket, symbol: str) -> None:
        """A symbol that joined the configuration later: its files are read now, and it starts where the clock is."""
        stored.spans[symbol] = [span.record() for span in await self._scanned(symbol)]
        added = {name: spans for name, spans in stored.spans.items() if name != symbol} | {symbol: stored.spans[symbol]}
        await self.redis.hset(self.keys.market, "spans", json.dumps(added))

    async def _start(self, stored: StoredMarket, series: Series, symbol: str) -> list[str]:
        """Cursor, price and market time at which a symbol of a made or recorded market begins."""
        length = await series.length()
        reached = stored.clock.complete(self._now_ms) if symbol not in self._original else 0
        cursor = reached if length is None else min(reached, length)
        bars = await series.bars(max(cursor - 1, 0), max(cursor, 1))
        price = bars[0].close if cursor else bars[0].open
        return [str(cursor), str(price), str(bars[0].at)]
