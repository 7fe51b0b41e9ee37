"""`PaperExchange`: a spot exchange that speaks ccxt's unified API and keeps its whole state in Redis.

Fill model: bid = ask = last, the price of the last complete candle. An order that matches at once fills at that price
with the taker fee; one that does not rests from the next candle on, and in a candle every resting buy at or above the
low and every resting sell at or below the high fills once, whole, at its own price, with the maker fee.
"""

# ruff: noqa: ARG002, A002  (the signatures are ccxt's)

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NoReturn

from ccxt.base.errors import BadRequest, OrderNotFound

from tasks.paper import ccxt_shapes as shapes
from tasks.paper.ccxt_shapes import order_of, trade_of
from tasks.paper.market import reading, writing
from tasks.paper.market_data import PaperMarketData
from tasks.paper.orders import Batch, InvalidRequest, NewOrder, Refusal, new_order

DEFAULT_LIMIT = 500
MAX_LIMIT = 1000


class PaperExchange(PaperMarketData):
    """Create it with `open_paper_exchange`; end it with `close`."""

    @cached_property
    def _shapes(self) -> Callable[[str, str, str], dict[str, Any]]:
        """From (`order` or `trade`, symbol, stored text) to a ccxt record; cached, as most are read many times."""

        @lru_cache(maxsize=16_384)
        def shape(kind: str, symbol: str, text: str) -> dict[str, Any]:
            if kind == "order":
                return shapes.order(self, symbol, order_of(text))
            return shapes.trade(self, symbol, trade_of(text))

        return shape

    def _order(self, symbol: str, text: str) -> dict[str, Any]:
        return dict(self._shapes("order", symbol, text))

    def _trade(self, symbol: str, text: str) -> dict[str, Any]:
        return dict(self._shapes("trade", symbol, text))

    def _new_order(self, order: Mapping[str, Any]) -> NewOrder:
        symbol = self._symbol(order.get("symbol"))
        kind, side = str(order.get("type")), str(order.get("side"))
        amount, price, params = order.get("amount"), order.get("price"), dict(order.get("params") or {})
        try:
            return new_order(symbol, kind, side, amount, price, params, self._filters[symbol])
        except InvalidRequest as error:
            raise BadRequest(f"paper {error}") from None

    async def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: Any,
        price: Any = None,
        params: Any = None,
    ) -> dict[str, Any]:
        """Place a limit order (GTC or post only) or a market order.

        Raises BadRequest or BadSymbol for an invalid request, and the ccxt error of the `Refusal` where it is refused.
        """
        order = {"symbol": symbol, "type": type, "side": side, "amount": amount, "price": price, "params": params}
        batch = Batch([self._new_order(order)], self._filters[self._symbol(symbol)], self._fees)
        outcome = (await self._place([batch]))[0][0]
        if isinstance(outcome, Refusal):
            raise outcome.error()
        return self._order(self._symbol(symbol), outcome)

    async def create_orders(self, orders: Sequence[Mapping[str, Any]], params: Any = None) -> list[dict[str, Any]]:
        """Place many orders in one round trip. Each is accepted or refused by itself; answers are in the same order.

        A refused order has status `rejected` and `info` {"code", "msg"} with Binance's codes. An invalid request raises
        BadRequest or BadSymbol before any order of the batch is sent.
        """
        wanted = [
            self._new_order({**order, "params": {**(params or {}), **(order.get("params") or {})}}) for order in orders
        ]
        if not wanted:
            return []
        symbols = list(dict.fromkeys(order.symbol for order in wanted))
        batches = [
            Batch([order for order in wanted if order.symbol == symbol], self._filters[symbol], self._fees)
            for symbol in symbols
        ]
        outcomes = dict(zip(symbols, map(iter, await self._place(batches)), strict=True))
        return [self._order_or_rejection(order, next(outcomes[order.symbol])) for order in wanted]

    async def _place(self, batches: Sequence[Batch]) -> list[list[Refusal | str]]:
        operations = [writing(batch.symbol, "place", batch.args) for batch in batches]
        answers = await self._run(*operations)
        return [batch.outcomes(answer.texts) for batch, answer in zip(batches, answers, strict=True)]

    def _order_or_rejection(self, order: NewOrder, outcome: Refusal | str) -> dict[str, Any]:
        if isinstance(outcome, Refusal):
            return shapes.refused_order(self, order.symbol, order.client or None, outcome.code, outcome.message)
        return self._order(order.symbol, outcome)

    async def cancel_order(self, id: str | None, symbol: str | None = None, params: Any = None) -> dict[str, Any]:
        """Cancel a resting order, by id or by params clientOrderId. Raises OrderNotFound where it does not rest."""
        name = self._symbol(symbol)
        reference = self._reference(id, params)
        text = (await self._run(writing(name, "cancel", [reference])))[0].texts[0]
        return self._order(name, text) if text else self._not_found("Unknown order sent.", -2011)

    async def cancel_orders(
        self, ids: Sequence[str], symbol: str | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Cancel many orders in one round trip. An order that does not rest is answered as `rejected`, code -2011."""
        name = self._symbol(symbol)
        references = [f"i:{one}" for one in ids] + [f"c:{one}" for one in (params or {}).get("clientOrderIds", [])]
        if not references:
            return []
        texts = (await self._run(writing(name, "cancel", references)))[0].texts
        answers = []
        for reference, text in zip(references, texts, strict=True):
            if text:
                answers.append(self._order(name, text))
            else:
                refused = shapes.refused_order(self, name, None, -2011, "Unknown order sent.")
                answers.append({**refused, "id": reference[2:] if reference[0] == "i" else None})
        return answers

    async def cancel_all_orders(self, symbol: str | None = None, params: Any = None) -> list[dict[str, Any]]:
        """Cancel every resting order of the symbol."""
        name = self._symbol(symbol)
        texts = (await self._run(writing(name, "cancel", ["*"])))[0].texts
        return [self._order(name, text) for text in texts]

    def _reference(self, order_id: str | None, params: Any) -> str:
        client = (params or {}).get("clientOrderId") or (params or {}).get("origClientOrderId")
        if order_id is None and client is None:
            raise BadRequest("paper needs an order id or params clientOrderId")
        return f"c:{client}" if client is not None else f"i:{order_id}"

    def _not_found(self, message: str, code: int) -> NoReturn:
        raise OrderNotFound(f'paper {{"code":{code},"msg":"{message}"}}')

    async def fetch_order(self, id: str | None, symbol: str | None = None, params: Any = None) -> dict[str, Any]:
        """One order, by id or by params clientOrderId (the newest with that id). Raises OrderNotFound."""
        texts = (await self._read(self._symbol(symbol), "order", self._reference(id, params))).texts
        return self._order(self._symbol(symbol), texts[0]) if texts else self._not_found("Order does not exist.", -2013)

    async def fetch_open_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Resting orders of one symbol or of all, oldest first."""
        names = self._symbols(symbol)
        answers = await self._run(*(reading(name, "open") for name in names))
        found = [self._order(name, text) for name, answer in zip(names, answers, strict=True) for text in answer.texts]
        return _limited(found, since, limit)

    async def fetch_open_orders_and_ticker(self, symbol: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Resting orders of a symbol, and its ticker at the same instant, in one round trip."""
        name = self._symbol(symbol)
        answer = await self._read(name, "open")
        ticker = shapes.ticker(self, name, answer.last, answer.now_ms, answer.market_ms)
        return _limited([self._order(name, text) for text in answer.texts], None, None), ticker

    async def fetch_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Orders of a symbol in any status, oldest first: the newest `limit`, or the earliest from `since`."""
        return await self._orders("all", symbol, since, limit)

    async def fetch_closed_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Filled orders of a symbol, like `fetch_orders`."""
        return await self._orders("filled", symbol, since, limit)

    async def fetch_canceled_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Cancelled orders of a symbol, like `fetch_orders`."""
        return await self._orders("cancelled", symbol, since, limit)

    async def _orders(
        self, which: str, symbol: str | None, since: int | None, limit: int | None
    ) -> list[dict[str, Any]]:
        name, count = self._symbol(symbol), min(limit or DEFAULT_LIMIT, MAX_LIMIT)
        answer = await self._read(name, "orders", which, "" if since is None else str(since), str(count))
        return _limited([self._order(name, text) for text in answer.texts], since, count)

    async def fetch_my_trades(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """The account's trades, oldest first: the earliest from `since` or from params fromId on, else the newest.

        `limit`: 500 by default, at most 1000. params orderId: the trade of that order.
        """
        name, wanted = self._symbol(symbol), params or {}
        count = str(min(limit or DEFAULT_LIMIT, MAX_LIMIT))
        if wanted.get("orderId") is not None:
            answer = await self._read(name, "trade_of", str(wanted["orderId"]))
        else:
            start, first = "" if since is None else str(since), str(wanted.get("fromId", ""))
            answer = await self._read(name, "trades", start, first, count)
        return [self._trade(name, text) for text in answer.texts]

    async def fetch_order_trades(
        self,
        id: str,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Any = None,
    ) -> list[dict[str, Any]]:
        """The trade of an order, if it was filled."""
        return await self.fetch_my_trades(symbol, since, limit, {"orderId": id})


def _limited(orders: list[dict[str, Any]], since: int | None, limit: int | None) -> list[dict[str, Any]]:
    found = [order for order in orders if since is None or order["timestamp"] >= since]
    found.sort(key=lambda order: (order["timestamp"], int(order["id"])))
    if limit is None or len(found) <= limit:
        return found
    return found[-limit:] if since is None else found[:limit]
