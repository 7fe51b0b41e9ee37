"""OKX spot."""

from collections.abc import Mapping
from typing import Any

from tasks.base.clock import DAY_MS
from tasks.exchange.venues.pages import Backward, ListCall
from tasks.exchange.venues.signed import Answer, Params, SignedRequests
from tasks.exchange.venues.venue import FeeCall, KeyRights, RateLimits, Venue

ERROR_CODES = {
    "50036": "InvalidNonce",  # expTime lies before the exchange's time
    "50037": "InvalidNonce",  # order expired
    "50071": "DuplicateOrderId",
    "51016": "DuplicateOrderId",
    "51054": "RequestTimeout",
    "51149": "RequestTimeout",  # order timed out: it may exist
}


class OkxMethods(SignedRequests):
    """What differs from ccxt's client: without a deadline in the `expTime` header an order request is good for 30 s."""

    error_codes = ERROR_CODES
    own_description = {"options": {"createOrder": "privatePostTradeOrder"}}  # so that ccxt counts its rate as it is

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """The deadline goes into the header and leaves the body."""
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


def _expiry(signed_at_ms: int, valid_ms: int) -> dict[str, Any]:
    return {"timestamp": signed_at_ms, "expTime": str(signed_at_ms + valid_ms)}


def encode_order_id(text: str) -> str:
    """OKX takes letters and digits only. Our ids have no capital letters, so Z stands for a hyphen."""
    return text.replace("-", "Z")


def decode_order_id(text: str) -> str:
    """Our id again."""
    return text.replace("Z", "-")


_BY_ORDER, _BY_BILL = Backward(100, "ordId"), Backward(100, "billId")
_OPEN_ORDERS = ListCall("fetch_open_orders", _BY_ORDER, {"instType": "SPOT"})
_ENDED_ORDERS = tuple(
    ListCall("fetch_closed_orders", _BY_ORDER, {"method": f"privateGetTradeOrdersHistory{list_name}", "state": state})
    for list_name in ("Archive", "")  # three months, a minute behind; then the last seven days, up to date
    for state in ("filled", "canceled")
)


def may_withdraw(answer: Mapping[str, Any]) -> bool:
    """From OKX's account configuration: `perm` lists what the key may do."""
    rows = answer.get("data") or []
    return any("withdraw" in str(row.get("perm", "")).split(",") for row in rows)


VENUE = Venue(
    exchange_id="okx",
    validity=_expiry,
    refuses_stale_orders=True,
    credentials=("api_key", "secret", "password"),
    sandbox_hosts=frozenset({"www.okx.com"}),  # the live host too; ccxt marks each sandbox request by a header
    host="www.okx.com",
    key_rights=KeyRights("private_get_account_config", may_withdraw),
    rate_limits=RateLimits(),
    max_orders=500,
    client_methods=OkxMethods,
    encode_order_id=encode_order_id,
    decode_order_id=decode_order_id,
    open_orders=_OPEN_ORDERS,
    all_orders=(_OPEN_ORDERS, *_ENDED_ORDERS),
    trades=(ListCall("fetch_my_trades", _BY_BILL), ListCall("fetch_recent_trades", _BY_BILL)),
    recent_trades_ms=2 * DAY_MS,
    account_fees=FeeCall.EACH,
    keeps_ms=89 * DAY_MS,  # three months
)
