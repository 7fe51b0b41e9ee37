"""The exchange port over any ccxt async exchange; the paper exchange is one of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import ccxt

from tasks.base.errors import ExchangeUnavailable, OrderArchived, RejectReason, UnknownSymbol
from tasks.base.money import plain
from tasks.exchange.call_counts import counted
from tasks.exchange.clock_sync import ClockSync
from tasks.exchange.limits.priority import Priority, call_scope, max_wait_of, one_of_batch, priority_of, request_batch
from tasks.exchange.limits.send_by import NotSent, send_by
from tasks.exchange.market_list import MarketList
from tasks.exchange.models import (
    Accepted,
    Balance,
    Candle,
    Market,
    Order,
    OrderRequest,
    OrderStatus,
    Placement,
    Rejected,
    Side,
    Ticker,
    Trade,
    Unknown,
)
from tasks.exchange.parsing import (
    STATUS,
    batch_refusal,
    candle_of,
    error_text,
    listed_order,
    listed_trade,
    or_zero,
    order_of,
    refusal_of,
    ticker_of,
)
from tasks.exchange.venues.pages import ListCall, PageRequest, Record, read_all
from tasks.exchange.venues.registry import venue_of

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R", Order, Trade)

# What a truncated or unexpected body raises.
_UNREADABLE = (AttributeError, KeyError, IndexError, TypeError, ValueError, ArithmeticError)


class CcxtClient:
    """`ExchangePort` over `exchange`, a ccxt async Exchange instance.

    Floats become Decimal here and nowhere else. Amounts and prices of orders go to ccxt as text, never as floats: for
    limit orders ccxt rounds them to the market's steps and does no other arithmetic on them.
    """

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._venue = venue_of(exchange.id)
        self._clock_sync = ClockSync(exchange)
        self._markets = MarketList(exchange, self._venue, self._read)

    @property
    def apart_from_redis(self) -> bool:
        """See ExchangePort; the paper exchange lives in Redis."""
        return str(self._exchange.id) != "paper"

    @property
    def keeps_ms(self) -> int | None:
        """See ExchangePort."""
        return self._venue.keeps_ms

    async def markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """Filters and fees by symbol. Raises ExchangeError for a symbol the exchange does not list."""
        return await self._markets.loaded(symbols)

    async def refreshed_markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """`markets`, read again; symbols that the exchange does not list are left out."""
        return await self._markets.refreshed(symbols)

    async def ticker(self, symbol: str) -> Ticker:
        """Current best bid and ask and last price."""
        requested_ms = self._exchange.milliseconds()
        raw = await self._read(self._exchange.fetch_ticker, symbol)
        return self._usable(symbol, raw, requested_ms)

    def _usable(self, symbol: str, raw: Record, requested_ms: int) -> Ticker:
        found = ticker_of(symbol, raw, self._clock_sync.own_time, requested_ms)
        if found is None:
            raise ExchangeUnavailable(f"{symbol}: ticker without usable prices")
        return found

    async def tickers(self, symbols: Sequence[str]) -> dict[str, Ticker]:
        """Tickers of several symbols in one call; those without usable prices are left out."""
        requested_ms, own_time = self._exchange.milliseconds(), self._clock_sync.own_time
        raws = await self._read(self._exchange.fetch_tickers, list(symbols))
        found = {name: ticker_of(name, raws.get(name) or {}, own_time, requested_ms) for name in symbols}
        return {name: ticker for name, ticker in found.items() if ticker is not None}

    async def place(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        """Place orders, in one request where the venue has batches; one result each, in order.

        An order that the market's present steps would round is refused and not sent: it would differ from its intent.
        """
        rounded = {request.client_id: found for request in requests if (found := self._markets.refusal(request))}
        sent = [request for request in requests if request.client_id not in rounded]
        answers = iter(await self._send(sent))
        return [rounded.get(request.client_id) or next(answers) for request in requests]

    async def _send(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        if not requests:
            return []
        if self._venue.batch_orders and len(requests) > 1:
            with call_scope(priority_of(requests), max_wait_of(requests)):
                return await self._place_batch(requests)
        placed: dict[int, Placement] = {}
        await asyncio.gather(*(self._place_side(side, requests, placed) for side in Side))
        return [placed[place] for place in range(len(requests))]

    async def _place_side(self, side: Side, requests: Sequence[OrderRequest], placed: dict[int, Placement]) -> None:
        """One request per order of this side; all of them take from the rate budget together."""
        own = {place: request for place, request in enumerate(requests) if request.side is side}
        if not own:
            return
        batch = list(own.values())
        async with request_batch(priority_of(batch), len(batch), max_wait_of(batch)):
            answers = await asyncio.gather(*(self._place_one(request) for request in batch))
        placed.update(zip(own, answers, strict=True))

    async def _place_one(self, request: OrderRequest) -> Placement:
        with one_of_batch(), send_by(request.signed_at_ms + request.valid_ms):
            return await self._place_now(request)

    async def _place_now(self, request: OrderRequest) -> Placement:
        try:
            raw = await counted(
                self._exchange.create_order,
                request.symbol,
                "limit",
                request.side.value,
                plain(request.qty),
                plain(request.price),
                self._params(request),
            )
            return self._placement(raw, request)
        except NotSent as error:
            return Rejected(client_id=request.client_id, reason=RejectReason.NOT_SENT, detail=str(error))
        except ccxt.BaseError as error:
            await self._clock_sync.resync_after(error)
            return refusal_of(error, request.client_id)
        except _UNREADABLE as error:  # there was an answer, so the order may exist
            return Unknown(client_id=request.client_id, detail=f"unreadable answer: {type(error).__name__}")

    async def _place_batch(self, requests: Sequence[OrderRequest]) -> list[Placement]:
        orders = [
            {
                "symbol": request.symbol,
                "type": "limit",
                "side": request.side.value,
                "amount": plain(request.qty),
                "price": plain(request.price),
                "params": self._params(request),
            }
            for request in requests
        ]
        try:
            raws = await counted(self._exchange.create_orders, orders)
        except ccxt.BaseError as error:
            await self._clock_sync.resync_after(error)
            return [refusal_of(error, request.client_id) for request in requests]
        by_id = {self._venue.decode_order_id(str(raw.get("clientOrderId"))): raw for raw in raws}
        return [self._placement(by_id.get(request.client_id) or {}, request) for request in requests]

    def _placement(self, raw: Mapping[str, Any], request: OrderRequest) -> Placement:
        """Accepted only if the answer has an order id; Rejected only if its status says so; Unknown otherwise."""
        if raw.get("status") == "rejected":
            return batch_refusal(raw.get("info") or {}, request.client_id)
        if not raw.get("id"):
            return Unknown(client_id=request.client_id, detail="the answer carries no order id")
        order = Order(
            exchange_id=str(raw["id"]),
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            price=request.price,
            qty=request.qty,
            filled=or_zero(raw.get("filled")),
            status=STATUS.get(str(raw.get("status")), OrderStatus.OPEN),
            at_ms=int(raw.get("timestamp") or request.signed_at_ms),
        )
        return Accepted(order=order)

    async def cancel(self, symbol: str, exchange_ids: Sequence[str]) -> None:
        """Request to cancel. Ignores orders that are gone already; the caller reads afterwards what became of them."""
        if not exchange_ids:
            return
        async with request_batch(Priority.CANCEL, len(exchange_ids)):
            if self._venue.batch_orders and len(exchange_ids) > 1:
                await _cancel_one(self._exchange.cancel_orders, list(exchange_ids), symbol)
                return
            await asyncio.gather(*(_cancel_one(self._exchange.cancel_order, one, symbol) for one in exchange_ids))

    def lists_all_orders(self, symbols: int) -> bool:
        """Whether one request for the open orders of all symbols is cheaper than one for each of `symbols`."""
        return symbols >= self._venue.all_symbols_from

    async def all_open_orders(self) -> list[Order]:
        """All resting orders of the account in every symbol."""
        return await self._read_list((self._venue.open_orders,), None, 0, self._order)

    async def open_orders(self, symbol: str, not_before_ms: int = 0) -> list[Order]:  # noqa: ARG002 - always fresh
        """All resting orders of the account in this symbol, ours or not. Always reads them anew."""
        return await self._read_list((self._venue.open_orders,), symbol, 0, self._order)

    async def orders_and_ticker(self, symbol: str, not_before_ms: int = 0) -> tuple[list[Order], Ticker]:
        """`open_orders` and then `ticker`; in one request where the venue has one for both."""
        if not self._venue.orders_and_ticker:
            orders = await self.open_orders(symbol, not_before_ms)
            return orders, await self.ticker(symbol)
        requested_ms = self._exchange.milliseconds()
        raws, raw = await self._read(getattr(self._exchange, self._venue.orders_and_ticker), symbol)
        listed = [found for _, found in map(self._order, raws) if found is not None]
        return listed, self._usable(symbol, raw, requested_ms)

    async def order(self, symbol: str, client_id: str, exchange_id: str | None = None) -> Order | None:
        """One order, by exchange id if given, else by client id; None if there is none. Raises OrderArchived too."""
        params = {} if exchange_id else {"clientOrderId": self._venue.encode_order_id(client_id)}
        try:
            raw = await self._read(self._exchange.fetch_order, exchange_id, symbol, params)
            return order_of(raw, self._venue)
        except ExchangeUnavailable as error:
            if isinstance(error.__cause__, ccxt.OrderNotFound):
                return None
            if self._venue.says_archived(str(error.__cause__)):
                raise OrderArchived(
                    f"{symbol}: order {exchange_id or client_id} ended long ago without a fill"
                ) from error
            raise

    async def orders(self, symbol: str) -> list[Order]:
        """Every order of the account in this symbol that the exchange still knows, all pages, oldest first."""
        return await self._read_list(self._venue.all_orders, symbol, 0, self._order)

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """The account's trades at or after `since_ms` (by our clock or the exchange's; 0: all), oldest first."""
        since_ms = max(self._clock_sync.earliest(since_ms), 1) if since_ms else 0
        calls = self._venue.trades_since(since_ms, self._exchange_now())
        resting = await self.open_orders(symbol) if self._venue.stops_at_gaps and not since_ms else []
        oldest_ms = min((order.at_ms for order in resting), default=None)
        return await self._read_list(calls, symbol, since_ms, self._trade, oldest_ms)

    def _order(self, raw: Record) -> tuple[str, Order | None]:
        return str(raw.get("id")), listed_order(raw, self._venue)

    def _trade(self, raw: Record) -> tuple[str, Trade | None]:
        return str(raw.get("id")), listed_trade(raw, self._venue)

    async def _read_list(
        self,
        calls: Sequence[ListCall],
        symbol: str | None,
        since_ms: int,
        parse: Callable[[Record], tuple[str, R | None]],
        oldest_ms: int | None = None,
    ) -> list[R]:
        """Every record of the lists, oldest first."""

        async def page(call: ListCall, request: PageRequest) -> list[Record]:
            method, params = getattr(self._exchange, call.method), {**call.params, **request.params}
            return list(await self._read(method, symbol, request.since_ms, call.pages.size, params))

        return await read_all(calls, page, parse, since_ms, self._exchange_now(), oldest_ms)

    def _exchange_now(self) -> int:
        return self._clock_sync.exchange_time(self._exchange.milliseconds())

    async def balances(self) -> Mapping[str, Balance]:
        """Free and locked amount by currency."""
        raw = await self._read(self._exchange.fetch_balance)
        if not raw.get("total"):
            raise ExchangeUnavailable("the balance in the answer is unreadable")
        return {
            currency: Balance(free=or_zero(raw["free"].get(currency)), locked=or_zero(raw["used"].get(currency)))
            for currency in raw["total"]
        }

    async def candles(self, symbol: str, since_ms: int | None, limit: int) -> list[Candle]:
        """1-minute bars, oldest first."""
        rows = await self._read(self._exchange.fetch_ohlcv, symbol, "1m", since_ms, limit)
        return [candle_of(row) for row in rows]

    async def close(self) -> None:
        """Release connections."""
        await self._exchange.close()

    def _params(self, request: OrderRequest) -> dict[str, Any]:
        """ccxt's params. The request is signed with the intent's time, so that the exchange refuses it once stale."""
        return {
            "clientOrderId": self._venue.encode_order_id(request.client_id),
            **({"postOnly": True} if request.post_only else {}),  # ccxt would send False on to the exchange
            **self._venue.validity(self._clock_sync.exchange_time(request.signed_at_ms), request.valid_ms),
        }

    async def _read(self, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """The answer of a read call. Raises ExchangeUnavailable (UnknownSymbol) for every failure, truncation included.

        After a refused time stamp it synchronises the clock and reads once more.
        """
        try:
            try:
                return await counted(call, *arguments)
            except ccxt.InvalidNonce as error:
                await self._clock_sync.resync_after(error)
                return await counted(call, *arguments)
        except (ccxt.BaseError, *_UNREADABLE) as error:
            kind = UnknownSymbol if isinstance(error, ccxt.BadSymbol) else ExchangeUnavailable
            raise kind(f"{type(error).__name__}: {error_text(error)}") from error


async def _cancel_one(call: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    try:
        await counted(call, *arguments)
    except ccxt.OrderNotFound:
        return
    except ccxt.BaseError as error:
        log.warning("cancel not confirmed; the next tick reads the order again", extra={"error": type(error).__name__})
