"""The one way to an exchange. Real and paper exchanges stand behind it alike."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tasks.exchange.models import Balance, Candle, Market, Order, OrderRequest, Placement, Ticker, Trade


class ExchangePort(Protocol):
    """Spot exchange as the tick sees it. Reads raise ExchangeUnavailable; writes answer in values."""

    @property
    def apart_from_redis(self) -> bool:
        """Whether the exchange outlives Redis, and requests to it may be on their way while Redis is lost."""

    async def markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """Filters and fees by symbol. Raises ExchangeError for a symbol the exchange does not list."""

    async def ticker(self, symbol: str) -> Ticker:
        """Current best bid and ask and last price."""

    async def place(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        """Place orders (of one symbol), one answer each, in order; never raises for a single order's fate."""

    async def cancel(self, symbol: str, exchange_ids: Sequence[str]) -> None:
        """Ask to cancel; orders already gone are fine. What became of them is read afterwards."""

    async def open_orders(self, symbol: str, not_before_ms: int = 0) -> list[Order]:
        """All resting orders of the account in this symbol, ours or not, as they were at `not_before_ms` or later."""

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        """One order, by exchange id where it is known, else by client id; None when there is none."""

    async def orders(self, symbol: str) -> list[Order]:
        """Every order of the account in this symbol that the exchange still knows, all pages, oldest first."""

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """The account's executions at or after `since_ms` (exchange time; 0: all), all pages, oldest first."""

    async def balances(self) -> Mapping[str, Balance]:
        """Free and locked amount by currency."""

    async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
        """1-minute bars, oldest first."""

    async def close(self) -> None:
        """Release connections."""
