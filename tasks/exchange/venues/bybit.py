"""Bybit spot, for a unified account."""

import re
from collections.abc import Mapping
from typing import Any

from tasks.base.clock import DAY_MS
from tasks.exchange.venues.pages import ByCursor, ByWeek, ListCall
from tasks.exchange.venues.signed import Answer, Params, SignedRequests, ccxt_error
from tasks.exchange.venues.venue import (
    FeeCall,
    Headers,
    KeyRights,
    LimitsLeft,
    RateLimits,
    Response,
    Venue,
    recv_window,
)

ERROR_CODES = {
    **dict.fromkeys(("110008", "110010", "170139", "170142", "170143", "170190"), "OrderNotFound"),
    **dict.fromkeys(("110030", "110072", "12141", "170141"), "DuplicateOrderId"),
    "-1021": "InvalidNonce",
    "10000": "RequestTimeout",  # server timeout
    "170005": "RateLimitExceeded",  # too many new orders
    "170035": "ExchangeError",  # submitted for processing: it may exist
    "170146": "RequestTimeout",  # order creation timed out: it may exist
    "170218": "OrderImmediatelyFillable",
    "170810": "InvalidOrder",  # too many open orders
}


class BybitMethods(SignedRequests):
    """What differs from ccxt's client: request validity from params, and orders looked up wherever they are."""

    error_codes = ERROR_CODES
    own_description = {"options": {"defaultType": "spot"}}

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """`recvWindow` of the params replaces ccxt's and leaves the body."""
        kept = dict(params or {})
        usual = self.options["recvWindow"]
        self.options["recvWindow"] = kept.pop("recvWindow", usual)
        try:
            return super().sign(path, api, method, kept)
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
        for call in (self.privateGetV5OrderRealtime, self.privateGetV5OrderHistory):
            answer = await call(request)
            for order in answer["result"]["list"]:
                return self.parse_order(order, market)
        raise ccxt_error("OrderNotFound")(f"{self.id} has no order {order_id or request['orderLinkId']}")

    def parse_order_status(self, status: str | None) -> Any:
        """An order that was cancelled after a part had filled is cancelled; ccxt calls it filled."""
        return "canceled" if status == "PartiallyFilledCanceled" else super().parse_order_status(status)

    def parse_trade(self, trade: Mapping[str, Any], market: Any = None) -> Any:
        """With the client id, and the fee's own currency, which ccxt would guess."""
        coin = trade.get("feeCoin") or trade.get("feeCurrency")
        known = {**trade, "feeCoin": coin} if coin else trade
        return {**super().parse_trade(known, market), "clientOrderId": trade.get("orderLinkId") or None}

    async def publicGetV5MarketTickers(self, params: Params | None = None) -> Any:  # noqa: N802 - ccxt's name
        """Spot tickers have no time of their own; they get the answer's."""
        answer = await super().publicGetV5MarketTickers(params or {})
        for ticker in answer["result"]["list"]:
            ticker.setdefault("time", answer.get("time"))
        return answer


_FORBIDDEN = 403
_ADDRESS_BAN_SECONDS = 600.0  # by its documentation
_ADDRESS_BAN = re.compile(r'"retCode"\s*:\s*10018\b')  # the limit of the IP address; 10006 is the account's


def address_ban_seconds(response: Response) -> float:
    """HTTP 403 or code 10018: the IP address made too many requests."""
    is_banned = response.status == _FORBIDDEN or (response.throttled and _ADDRESS_BAN.search(response.body))
    return _ADDRESS_BAN_SECONDS if is_banned else 0.0


def reset_seconds(headers: Headers, now_ms: int) -> float | None:
    """Seconds until Bybit counts the account's requests anew."""
    try:
        return (int(headers["x-bapi-limit-reset-timestamp"]) - now_ms) / 1000
    except (KeyError, ValueError):
        return None


def limits_left(headers: Headers) -> LimitsLeft:
    """From Bybit's count of the account's requests that are left."""
    status, limit = headers.get("x-bapi-limit-status", ""), headers.get("x-bapi-limit", "")
    if status.isdigit() and limit.isdigit() and int(limit):
        return LimitsLeft(account=min(int(status) / int(limit), 1))
    return LimitsLeft()


_OPEN_ORDERS = ListCall("fetch_open_orders", ByCursor(50), {"orderFilter": "Order"})
_RETENTION_MS = 729 * DAY_MS  # it keeps two years
_MAX_EMPTY_WEEKS = 13


def may_withdraw(answer: Mapping[str, Any]) -> bool:
    """From Bybit's description of the key."""
    rights = (answer.get("result") or {}).get("permissions") or {}
    return "Withdraw" in (rights.get("Wallet") or [])


VENUE = Venue(
    exchange_id="bybit",
    validity=recv_window,
    refuses_stale_orders=True,
    credentials=("api_key", "secret"),
    sandbox_hosts=frozenset({"api-testnet.bybit.com"}),
    host="api.bybit.com",
    key_rights=KeyRights("private_get_v5_user_query_api", may_withdraw),
    rate_limits=RateLimits(address_window_ms=5_000, account_window_ms=5_000),
    client_methods=BybitMethods,
    max_orders=500,
    open_orders=_OPEN_ORDERS,
    all_orders=(
        _OPEN_ORDERS,
        ListCall(
            "fetch_canceled_and_closed_orders",
            ByWeek(50, _RETENTION_MS, _MAX_EMPTY_WEEKS),
            {"orderFilter": "Order"},
        ),
    ),
    trades=(ListCall("fetch_my_trades", ByWeek(100, _RETENTION_MS, _MAX_EMPTY_WEEKS)),),
    keeps_ms=_RETENTION_MS,
    stops_at_gaps=True,
    address_ban_seconds=address_ban_seconds,
    reset_seconds=reset_seconds,
    limits_left=limits_left,
    account_fees=FeeCall.EACH,
)
