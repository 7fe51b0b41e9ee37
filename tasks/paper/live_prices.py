"""Live prices: public tickers of a real exchange through ccxt, without keys."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tasks.base.errors import ExchangeUnavailable
from tasks.base.money import dec

OPEN_SECONDS = 5


class LivePrices:
    """A public ccxt client. `open` connects it, `close` disconnects it."""

    def __init__(self, exchange_id: str, api_url: str | None, symbols: Sequence[str]) -> None:
        self._id, self._api_url, self._symbols = exchange_id, api_url, list(symbols)
        self._client: Any = None

    async def open(self) -> None:
        """Load the markets. Raises ExchangeUnavailable where that fails or takes longer than OPEN_SECONDS."""
        if self._client is not None:
            return
        client = _public_client(self._id, self._api_url)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await client.load_markets()
        except Exception as error:
            await client.close()
            raise ExchangeUnavailable(f"{self._id}: no live prices ({type(error).__name__})") from error
        missing = [symbol for symbol in self._symbols if symbol not in client.markets]
        if missing:
            await client.close()
            raise ExchangeUnavailable(f"{self._id} does not list {', '.join(missing)}")
        self._client = client

    def market(self, symbol: str) -> dict[str, Any]:
        """The exchange's own market structure."""
        return dict(self._client.markets[symbol])

    async def prices(self) -> dict[str, Decimal]:
        """Last price of every symbol that has one."""
        if len(self._symbols) > 1 and self._client.has.get("fetchTickers"):
            tickers = await self._client.fetch_tickers(self._symbols)
        else:
            tickers = {symbol: await self._client.fetch_ticker(symbol) for symbol in self._symbols}
        found = {symbol: tickers.get(symbol, {}).get("last") for symbol in self._symbols}
        return {symbol: dec(price) for symbol, price in found.items() if price}

    async def ohlcv(self, symbol: str, timeframe: str, since: int | None, limit: int | None) -> list[Any]:
        """The exchange's own candles."""
        return list(await self._client.fetch_ohlcv(symbol, timeframe, since, limit))

    async def close(self) -> None:
        """Releases the connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


def _public_client(exchange_id: str, api_url: str | None) -> Any:
    import ccxt.async_support as ccxt  # takes seconds: imported only for live prices

    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    client = getattr(ccxt, exchange_id)({"enableRateLimit": True, "options": options})
    if api_url is not None:
        client.urls["api"] = _rewritten(client.urls["api"], api_url)
    return client


def _rewritten(api: Any, base: str) -> Any:
    """Every URL of `api` with the scheme and host of `base`; the path stays."""
    if isinstance(api, dict):
        return {name: _rewritten(value, base) for name, value in api.items()}
    path = str(api).split("://", 1)[-1].partition("/")[2]
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")
