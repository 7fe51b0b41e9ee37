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
from tasks.paper.orders import Batch, Entry, Malformed, Refusal, entry_of

DEFAULT_LIMIT = 500
MAX_LIMIT = 1000


class PaperExchange(PaperMarketData):
    """Made by `open_paper_exchange`; `close` ends it."""

    @cached_property
    def _shapes(self) -> Callable[[str, str, str], dict[str, Any]]:
        """`order` or `trade`, symbol and stored text → ccxt record. Most are read many times before they change."""

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

    def _entry(self, wanted: Mapping[str, Any]) -> Entry:
        symbol = self._known(wanted.get("symbol"))
        kind, side = str(wanted.get("type")), str(wanted.get("side"))
        amount, price, params = wanted.get("amount"), wanted.get("price"), dict(wanted.get("params") or {})
        try:
            return entry_of(symbol, kind, side, amount, price, params, self._filters[symbol])
        except Malformed as error:
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
        """Limit (GTC or post only) or market order. A refusal raises (see `Refusal`)."""
        wanted = {"symbol": symbol, "type": type, "side": side, "amount": amount, "price": price, "params": params}
        batch = Batch([self._entry(wanted)], self._filters[self._known(symbol)], self._fees)
        outcome = (await self._placed([batch]))[0][0]
        if isinstance(outcome, Refusal):
            raise outcome.error()
        return self._order(self._known(symbol), outcome)

    async def create_orders(self, orders: Sequence[Mapping[str, Any]], params: Any = None) -> list[dict[str, Any]]:
        """Many orders in one round trip, each on its own merits, answered in order.

        A refused one is answered with status `rejected` and `info` {"code", "msg"}, codes as Binance gives them.
        A malformed one (BadRequest, BadSymbol) refuses the whole batch before anything is sent.
        """
        entries = [
            self._entry({**order, "params": {**(params or {}), **(order.get("params") or {})}}) for order in orders
        ]
        if not entries:
            return []
        symbols = list(dict.fromkeys(entry.symbol for entry in entries))
        batches = [
            Batch([entry for entry in entries if entry.symbol == symbol], self._filters[symbol], self._fees)
            for symbol in symbols
        ]
        outcomes = dict(zip(symbols, map(iter, await self._placed(batches)), strict=True))
        return [self._answered(entry, next(outcomes[entry.symbol])) for entry in entries]

    async def _placed(self, batches: Sequence[Batch]) -> list[list[Refusal | str]]:
        operations = [writing(batch.symbol, "place", batch.args) for batch in batches]
        answers = await self._run(*operations)
        return [batch.outcomes(answer.texts) for batch, answer in zip(batches, answers, strict=True)]

    def _answered(self, entry: Entry, outcome: Refusal | str) -> dict[str, Any]:
        if isinstance(outcome, Refusal):
            return shapes.refused_order(self, entry.symbol, entry.client or None, outcome.code, outcome.message)
        return self._order(entry.symbol, outcome)

    async def cancel_order(self, id: str | None, symbol: str | None = None, params: Any = None) -> dict[str, Any]:
        """Cancels a resting order, by id or by params clientOrderId. Raises OrderNotFound where it does not rest."""
        name = self._known(symbol)
        reference = self._reference(id, params)
        text = (await self._run(writing(name, "cancel", [reference])))[0].texts[0]
        return self._order(name, text) if text else self._missing("Unknown order sent.", -2011)

    async def cancel_orders(
        self, ids: Sequence[str], symbol: str | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Cancels many in one round trip. One that does not rest is answered as `rejected` with code -2011."""
        name = self._known(symbol)
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
        """Cancels every resting order of the symbol."""
        name = self._known(symbol)
        texts = (await self._run(writing(name, "cancel", ["*"])))[0].texts
        return [self._order(name, text) for text in texts]

    def _reference(self, order_id: str | None, params: Any) -> str:
        client = (params or {}).get("clientOrderId") or (params or {}).get("origClientOrderId")
        if order_id is None and client is None:
            raise BadRequest("paper needs an order id or params clientOrderId")
        return f"c:{client}" if client is not None else f"i:{order_id}"

    def _missing(self, message: str, code: int) -> NoReturn:
        raise OrderNotFound(f'paper {{"code":{code},"msg":"{message}"}}')

    async def fetch_order(self, id: str | None, symbol: str | None = None, params: Any = None) -> dict[str, Any]:
        """One order, by id or by params clientOrderId (the newest with it). Raises OrderNotFound."""
        texts = (await self._read(self._known(symbol), "order", self._reference(id, params))).texts
        return self._order(self._known(symbol), texts[0]) if texts else self._missing("Order does not exist.", -2013)

    async def fetch_open_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Resting orders of one symbol or of all, oldest first."""
        names = self._all(symbol)
        answers = await self._run(*(reading(name, "open") for name in names))
        found = [self._order(name, text) for name, answer in zip(names, answers, strict=True) for text in answer.texts]
        return _cut(found, since, limit)

    async def fetch_orders(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """Orders of a symbol, whatever became of them, oldest first: the newest, or the earliest from `since`."""
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
        name, count = self._known(symbol), min(limit or DEFAULT_LIMIT, MAX_LIMIT)
        answer = await self._read(name, "orders", which, "" if since is None else str(since), str(count))
        return _cut([self._order(name, text) for text in answer.texts], since, count)

    async def fetch_my_trades(
        self, symbol: str | None = None, since: int | None = None, limit: int | None = None, params: Any = None
    ) -> list[dict[str, Any]]:
        """The account's trades, oldest first: the earliest from `since` or from params fromId on, else the newest.

        `limit` is 500 unless told, at most 1000. params orderId: the trade of that order.
        """
        name, wanted = self._known(symbol), params or {}
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


def _cut(orders: list[dict[str, Any]], since: int | None, limit: int | None) -> list[dict[str, Any]]:
    found = [order for order in orders if since is None or order["timestamp"] >= since]
    found.sort(key=lambda order: (order["timestamp"], int(order["id"])))
    if limit is None or len(found) <= limit:
        return found
    return found[-limit:] if since is None else found[:limit]
