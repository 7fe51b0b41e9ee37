"""The interface through which the program uses an exchange, real or paper."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tasks.exchange.models import Balance, Candle, Market, Order, OrderRequest, Placement, Ticker, Trade


class ExchangePort(Protocol):
    """A spot exchange. Reads raise ExchangeUnavailable; writes report failures in what they return."""

    @property
    def apart_from_redis(self) -> bool:
        """Whether the exchange keeps its state when Redis is lost, so that requests may still be under way to it."""

    @property
    def keeps_ms(self) -> int | None:
        """For how long it lists ended orders and trades, in ms; None: for ever."""

    async def markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """Filters and fees by symbol. Raises ExchangeError for a symbol the exchange does not list."""

    async def refreshed_markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """`markets`, read again; symbols that the exchange does not list are left out. Raises ExchangeUnavailable."""

    async def ticker(self, symbol: str) -> Ticker:
        """Current best bid and ask and last price."""

    async def place(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        """Place orders of one symbol; one result each, in order. Never raises because of a single order."""

    async def cancel(self, symbol: str, exchange_ids: Sequence[str]) -> None:
        """Request to cancel. Ignores orders that are gone already; the caller reads afterwards what became of them."""

    async def open_orders(self, symbol: str, not_before_ms: int = 0) -> list[Order]:
        """All resting orders of the account in this symbol, ours or not, as they were at `not_before_ms` or later."""

    async def all_open_orders(self) -> list[Order]:
        """All resting orders of the account in every symbol, read now."""

    async def orders_and_ticker(self, symbol: str, not_before_ms: int = 0) -> tuple[list[Order], Ticker]:
        """`open_orders` and then `ticker`."""

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        """One order, by exchange id if given, else by client id; None if there is none.

        Raises OrderArchived where the exchange says only that it ended long ago without a fill.
        """

    async def orders(self, symbol: str) -> list[Order]:
        """Every order of the account in this symbol that the exchange still knows, all pages, oldest first."""

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """The account's trades at or after `since_ms` (exchange time; 0: all), all pages, oldest first."""

    async def balances(self) -> Mapping[str, Balance]:
        """Free and locked amount by currency."""

    async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
        """1-minute bars, oldest first."""

    async def close(self) -> None:
        """Release connections."""
