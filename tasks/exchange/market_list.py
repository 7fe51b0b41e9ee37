"""The list of markets of a ccxt exchange: loaded once, and read again on request."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tasks.base.errors import ExchangeError, ExchangeUnavailable, RejectReason
from tasks.base.money import plain
from tasks.exchange.models import Market, OrderRequest, Rejected
from tasks.exchange.parsing import market_of
from tasks.exchange.venues.venue import Venue

Read: TypeAlias = Callable[..., Awaitable[Any]]  # makes one call; raises ExchangeUnavailable


class MarketList:
    """The markets of one ccxt exchange. `read` calls one of its methods."""

    def __init__(self, exchange: Any, venue: Venue, read: Read) -> None:
        self._exchange, self._venue, self._read = exchange, venue, read
        self._unlisted: set[str] = set()

    async def loaded(self, symbols: Sequence[str]) -> dict[str, Market]:
        """The markets of these symbols. Raises ExchangeError for a symbol that the exchange does not list."""
        await self._read(self._exchange.load_markets)
        if self._missing(symbols):  # a truncated answer may have left ccxt with a part of them
            await self._load_again()
        missing = self._missing(symbols)
        if missing:
            raise ExchangeError(f"{self._exchange.id} does not list {', '.join(missing)}; check the symbols' names")
        return {symbol: self._market(symbol) for symbol in symbols}

    async def refreshed(self, symbols: Sequence[str]) -> dict[str, Market]:
        """The markets of these symbols, read again; a symbol that the exchange does not list is left out."""
        await self._load_again()
        missing = self._missing(symbols)
        return {symbol: self._market(symbol) for symbol in symbols if symbol not in missing}

    def refusal(self, request: OrderRequest) -> Rejected | None:
        """Why the order cannot be sent as it is: ccxt would round it to steps that changed after it was planned."""
        market = self._market(request.symbol)
        if not request.qty % market.lot_step and not request.price % market.tick_size:
            return None
        steps = f"lot step {plain(market.lot_step)}, tick size {plain(market.tick_size)}"
        text = f"not sent: {plain(request.qty)} at {plain(request.price)} does not fit the market's present {steps}"
        return Rejected(client_id=request.client_id, reason=RejectReason.FILTER, detail=text)

    async def _load_again(self) -> None:
        """Read the list again. ccxt keeps the market of a symbol that left it, so that its orders can be cancelled.

        `load_markets(True)` would put an empty or truncated list in place of the markets that ccxt works with.
        """
        rows = await self._read(self._exchange.fetch_markets)
        if not rows:
            raise ExchangeUnavailable("the list of markets in the answer is empty")
        listed = {row["symbol"] for row in rows}
        kept = [row for symbol, row in (self._exchange.markets or {}).items() if symbol not in listed]
        self._unlisted = {row["symbol"] for row in kept}
        self._exchange.set_markets([*rows, *kept])

    def _missing(self, symbols: Sequence[str]) -> list[str]:
        known: Mapping[str, Any] = self._exchange.markets or {}
        return [symbol for symbol in symbols if symbol not in known or symbol in self._unlisted]

    def _market(self, symbol: str) -> Market:
        return market_of(self._exchange.markets[symbol], self._exchange.precisionMode, self._venue)
