"""The list of markets of a ccxt exchange, with the account's own fee rates: loaded once, and read again on request."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from tasks.base.errors import ExchangeError, ExchangeUnavailable, RejectReason
from tasks.base.money import dec, plain
from tasks.exchange.models import Market, OrderRequest, Rejected
from tasks.exchange.parsing import market_of
from tasks.exchange.venues.venue import FeeCall, Venue

Read: TypeAlias = Callable[..., Awaitable[Any]]  # makes one call; raises ExchangeUnavailable
log = logging.getLogger(__name__)


class _Rates(NamedTuple):
    """Fees as shares."""

    maker: Decimal
    taker: Decimal


class MarketList:
    """The markets of one ccxt exchange. `read` calls one of its methods.

    Where the account's own fee rates cannot be read, those known before count, else the listed ones.
    """

    def __init__(self, exchange: Any, venue: Venue, read: Read) -> None:
        self._exchange, self._venue, self._read = exchange, venue, read
        self._unlisted: set[str] = set()
        self._fees: dict[str, _Rates] = {}
        self._fees_asked: set[str] = set()

    async def loaded(self, symbols: Sequence[str]) -> dict[str, Market]:
        """The markets of these symbols. Raises ExchangeError for a symbol that the exchange does not list."""
        await self._read(self._exchange.load_markets)
        if self._missing(symbols):  # a truncated answer may have left ccxt with a part of them
            await self._load_again()
        missing = self._missing(symbols)
        if missing:
            raise ExchangeError(f"{self._exchange.id} does not list {', '.join(missing)}; check the symbols' names")
        await self._read_fees([symbol for symbol in symbols if symbol not in self._fees_asked])
        return {symbol: self._market(symbol) for symbol in symbols}

    async def refreshed(self, symbols: Sequence[str]) -> dict[str, Market]:
        """The markets of these symbols, read again; a symbol that the exchange does not list is left out."""
        await self._load_again()
        missing = self._missing(symbols)
        found = [symbol for symbol in symbols if symbol not in missing]
        await self._read_fees(found)
        return {symbol: self._market(symbol) for symbol in found}

    async def _read_fees(self, symbols: Sequence[str]) -> None:
        """Read the account's fee rates of these symbols, where the exchange tells them."""
        call = self._venue.account_fees
        if call is None or not symbols:
            return
        self._fees_asked |= set(symbols)
        try:
            if call is FeeCall.ALL:
                rows = await self._read(self._exchange.fetch_trading_fees)
                self._fees_asked |= rows.keys()
            else:
                rows = {symbol: await self._read(self._exchange.fetch_trading_fee, symbol) for symbol in symbols}
            self._fees |= {symbol: rates for symbol, row in rows.items() if (rates := _rates_of(row)) is not None}
        except ExchangeUnavailable as error:
            log.warning("the account's fee rates could not be read", extra={"error": str(error)})

    def refusal(self, request: OrderRequest) -> Rejected | None:
        """Why the order cannot be sent as it is: ccxt would round it to steps that changed after it was planned."""
        if request.symbol not in (self._exchange.markets or {}):
            return None  # ccxt loads the markets before it sends
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
        listed = market_of(self._exchange.markets[symbol], self._exchange.precisionMode, self._venue)
        own = self._fees.get(symbol)
        return listed if own is None else listed.model_copy(update={"maker_fee": own.maker, "taker_fee": own.taker})


def _rates_of(row: Mapping[str, Any]) -> _Rates | None:
    """ccxt's fee structure; None where a rate is missing."""
    maker, taker = row.get("maker"), row.get("taker")
    return None if maker is None or taker is None else _Rates(dec(maker), dec(taker))
