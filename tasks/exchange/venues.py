"""ccxt's exchanges where they need a hand: requests signed with the intent's time, answers read without a gap."""

import json
from collections.abc import Mapping
from typing import Any

import ccxt
import ccxt.async_support

Params = dict[str, Any]
Answer = dict[str, Any]


class _Signed:
    """A request whose params name a time is signed with that time, not with the moment of signing."""

    _signed_at: int | None = None

    def nonce(self) -> int:
        """The time that is signed: the exchange's now, unless a request brings its own."""
        return int(super().nonce()) if self._signed_at is None else self._signed_at  # type: ignore[misc]

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """ccxt's request, signed at params["timestamp"] where there is one."""
        held = params if isinstance(params, list) else dict(params or {})
        stamp = held.pop("timestamp", None) if isinstance(held, dict) else None
        self._signed_at = None if stamp is None else int(stamp)
        try:
            request: Answer = super().sign(path, api, method, held)  # type: ignore[misc]
        finally:
            self._signed_at = None
        return request

    def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> Any:
        """Half an answer, or one that is no JSON, says nothing: ccxt would read it as an empty list."""
        answer = rest[0] if rest else None
        if 200 <= code < 300 and not isinstance(answer, dict):
            raise ccxt.BadResponse(f"{self.id} {method} {url.partition('?')[0]}: the answer is not JSON")  # type: ignore[attr-defined]
        return super().handle_errors(code, reason, url, method, headers, body, *rest)  # type: ignore[misc]


class Okx(_Signed, ccxt.async_support.okx):
    """OKX: an order request carries its deadline in the `expTime` header, else it would be good for 30 s."""

    def describe(self) -> Any:
        """ccxt's, with the refusals it does not know and one request a single order."""
        exact = {
            "50036": ccxt.InvalidNonce,  # expTime lies before the exchange's time
            "50037": ccxt.InvalidNonce,  # order expired
            "50071": ccxt.DuplicateOrderId,
            "51016": ccxt.DuplicateOrderId,
            "51054": ccxt.RequestTimeout,
            "51149": ccxt.RequestTimeout,  # order timed out: it may exist
        }
        own = {
            "has": {"fetchCurrencies": False},
            "exceptions": {"exact": exact},
            "options": {"createOrder": "privatePostTradeOrder"},  # its rate is counted as what it is
        }
        return self.deep_extend(super().describe(), own)

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """The deadline goes into the header, out of the body."""
        expires = params.get("expTime") if isinstance(params, dict) else None
        if expires is None:
            return super().sign(path, api, method, params)
        request = super().sign(path, api, method, {name: held for name, held in params.items() if name != "expTime"})
        request["headers"] = {**(request["headers"] or {}), "expTime": str(expires)}
        return request

    async def fetch_recent_trades(
        self, symbol: str, since: int | None = None, limit: int | None = None, params: Params | None = None
    ) -> Any:
        """Own trades of the last three days, from the list that is kept for them."""
        await self.load_markets()
        market = self.market(symbol)
        request = {"instType": "SPOT", "instId": market["id"], "limit": limit or 100}
        if since is not None:
            request["begin"] = since
        answer = await self.privateGetTradeFills(self.extend(request, params or {}))
        return self.parse_trades(self.safe_list(answer, "data", []), market, since, limit)

    def parse_trade(self, trade: Mapping[str, Any], market: Any = None) -> Any:
        """With the client id, which ccxt leaves out."""
        return {**super().parse_trade(trade, market), "clientOrderId": trade.get("clOrdId") or None}


class Bybit(_Signed, ccxt.async_support.bybit):
    """Bybit: time stamp and window of an order request come from its params; orders are looked up wherever they are."""

    def describe(self) -> Any:
        """ccxt's, for spot, with each refusal as what it says of the order."""
        gone = dict.fromkeys(("110008", "110010", "170139", "170142", "170143", "170190"), ccxt.OrderNotFound)
        duplicate = dict.fromkeys(("110030", "110072", "12141", "170141"), ccxt.DuplicateOrderId)
        exact = {
            **gone,
            **duplicate,
            "-1021": ccxt.InvalidNonce,
            "10000": ccxt.RequestTimeout,  # server timeout
            "170005": ccxt.RateLimitExceeded,  # too many new orders
            "170035": ccxt.ExchangeError,  # submitted for processing: it may exist
            "170146": ccxt.RequestTimeout,  # order creation timed out: it may exist
            "170218": ccxt.OrderImmediatelyFillable,
            "170810": ccxt.InvalidOrder,  # too many open orders
        }
        own = {
            "has": {"fetchCurrencies": False},
            "exceptions": {"exact": exact},
            "options": {"defaultType": "spot"},
        }
        return self.deep_extend(super().describe(), own)

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """`recvWindow` of the params counts, and leaves the body."""
        held = dict(params or {})
        usual = self.options["recvWindow"]
        self.options["recvWindow"] = held.pop("recvWindow", usual)
        try:
            return super().sign(path, api, method, held)
        finally:
            self.options["recvWindow"] = usual

    async def fetch_order(self, order_id: str | None, symbol: str | None = None, params: Params | None = None) -> Any:
        """An order by id, or by params["clientOrderId"]: among the open and latest ones, then in the history.

        Raises OrderNotFound only when neither has it.
        """
        await self.load_markets()
        market = self.market(symbol)
        name = {"orderId": order_id} if order_id else {"orderLinkId": (params or {})["clientOrderId"]}
        request = {"category": "spot", "symbol": market["id"], **name}
        for ask in (self.privateGetV5OrderRealtime, self.privateGetV5OrderHistory):
            answer = await ask(request)
            for order in answer["result"]["list"]:
                return self.parse_order(order, market)
        raise ccxt.OrderNotFound(f"{self.id} has no order {order_id or request['orderLinkId']}")

    def parse_order_status(self, status: str | None) -> Any:
        """An order that was cancelled after a part had filled is cancelled; ccxt calls it filled."""
        return "canceled" if status == "PartiallyFilledCanceled" else super().parse_order_status(status)

    def parse_trade(self, trade: Mapping[str, Any], market: Any = None) -> Any:
        """With the client id, and the fee's own currency, which ccxt would guess."""
        coin = trade.get("feeCoin") or trade.get("feeCurrency")
        known = {**trade, "feeCoin": coin} if coin else trade
        return {**super().parse_trade(known, market), "clientOrderId": trade.get("orderLinkId") or None}

    async def publicGetV5MarketTickers(self, params: Params | None = None) -> Any:  # noqa: N802 - ccxt's name
        """Spot tickers have no time; they are as old as the answer."""
        answer = await super().publicGetV5MarketTickers(params or {})
        for ticker in answer["result"]["list"]:
            ticker.setdefault("time", answer.get("time"))
        return answer


class Binance(ccxt.async_support.binance):
    """Binance: a look at the tickers of some symbols costs what Binance counts; ccxt counts one of all symbols."""

    def calculate_rate_limiter_cost(self, api: Any, method: Any, path: Any, params: Any, config: Any = None) -> Any:
        """ccxt's cost; that of `ticker/24hr` with a list of symbols by its length, as Binance documents it."""
        if path == "ticker/24hr" and "symbols" in params:
            named = len(json.loads(params["symbols"]))
            weight = next(weight for most, weight in _TICKER_WEIGHTS if named <= most)
            return weight * _COST_OF_WEIGHT
        return super().calculate_rate_limiter_cost(api, method, path, params, config or {})


_TICKER_WEIGHTS = ((20, 2), (100, 40), (float("inf"), 80))
_COST_OF_WEIGHT = 0.2  # ccxt's unit is 50 ms, of which Binance allows 1200 in a minute for a weight of 6000

VENUES: Mapping[str, type] = {"binance": Binance, "okx": Okx, "bybit": Bybit}
