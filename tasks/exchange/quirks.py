"""Where exchanges differ in ways ccxt does not hide: client ids, request validity, batches, pages. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.exchange.pages import DAY_MS, Backward, ByCursor, ByDay, ByWeek, Forward, Listing, OnePage

_OPEN = Listing("fetch_open_orders", OnePage())
_ORDERS = Listing("fetch_orders", Forward(1000))
_TRADES = Listing("fetch_my_trades", Forward(1000))


def _as_is(text: str) -> str:
    return text


def _letters_only(text: str) -> str:
    """OKX takes letters and digits only; ours are hex, digits and b or s between hyphens, so Z stands for a hyphen."""
    return text.replace("-", "Z")


def _with_hyphens(text: str) -> str:
    return text.replace("Z", "-")


def _recv_window(signed_at_ms: int, valid_ms: int) -> dict[str, Any]:
    return {"timestamp": signed_at_ms, "recvWindow": valid_ms}


def _expiry(signed_at_ms: int, valid_ms: int) -> dict[str, Any]:
    return {"timestamp": signed_at_ms, "expTime": str(signed_at_ms + valid_ms)}


@dataclass(frozen=True)
class Quirks:
    """How one exchange wants it.

    `validity` turns (time signed, ms valid) into params that make the exchange refuse a stale request.
    `enforces_validity`: it was seen to refuse a stale request that way; without it no real order may be sent.
    `batch` tells whether ccxt's batch calls work for spot there.
    `all_orders_from` symbols on, one call for all open orders is lighter than one each.
    `all_orders`: the lists that together hold every order; what a later one says of an order counts.
    `trades`: likewise for trades; the last list alone is enough for the last `recent_ms` (0: all are needed).
    `searches_back`: it is asked for the oldest only until some time holds nothing; open orders tell how far at least.
    """

    encode_id: Callable[[str], str] = _as_is
    decode_id: Callable[[str], str] = _as_is
    validity: Callable[[int, int], dict[str, Any]] = _recv_window
    enforces_validity: bool = False
    batch: bool = False
    all_orders_from: int = 2
    open_orders: Listing = _OPEN
    all_orders: tuple[Listing, ...] = (_ORDERS,)
    trades: tuple[Listing, ...] = (_TRADES,)
    recent_ms: int = 0
    searches_back: bool = False

    def trades_since(self, since_ms: int, now_ms: int) -> tuple[Listing, ...]:
        """The lists that together hold every trade at or after `since_ms`."""
        return self.trades[-1:] if since_ms > now_ms - self.recent_ms else self.trades


_BINANCE = Quirks(
    enforces_validity=True,
    all_orders_from=14,
    all_orders=(Listing("fetch_orders", Forward(1000, "orderId")),),
    trades=(Listing("fetch_my_trades", ByDay(1000, "fromId")),),
)

_OKX_BY_ORDER, _OKX_BY_BILL = Backward(100, "ordId"), Backward(100, "billId")
_OKX_OPEN = Listing("fetch_open_orders", _OKX_BY_ORDER, {"instType": "SPOT"})
_OKX = Quirks(
    encode_id=_letters_only,
    decode_id=_with_hyphens,
    validity=_expiry,
    enforces_validity=True,
    open_orders=_OKX_OPEN,
    all_orders=(
        _OKX_OPEN,
        *(
            Listing(
                "fetch_closed_orders", _OKX_BY_ORDER, {"method": f"privateGetTradeOrdersHistory{kind}", "state": state}
            )
            for kind in ("Archive", "")  # three months; the last seven days, as they are now
            for state in ("filled", "canceled")
        ),
    ),
    trades=(Listing("fetch_my_trades", _OKX_BY_BILL), Listing("fetch_recent_trades", _OKX_BY_BILL)),
    recent_ms=2 * DAY_MS,
)

_BYBIT_OPEN = Listing("fetch_open_orders", ByCursor(50), {"orderFilter": "Order"})
_BYBIT_REACH_MS = 729 * DAY_MS  # it keeps two years
_BYBIT_PATIENCE = 13  # weeks
_BYBIT = Quirks(
    enforces_validity=True,
    open_orders=_BYBIT_OPEN,
    all_orders=(
        _BYBIT_OPEN,
        Listing(
            "fetch_canceled_and_closed_orders", ByWeek(50, _BYBIT_REACH_MS, _BYBIT_PATIENCE), {"orderFilter": "Order"}
        ),
    ),
    searches_back=True,
    trades=(Listing("fetch_my_trades", ByWeek(100, _BYBIT_REACH_MS, _BYBIT_PATIENCE)),),
)

_QUIRKS: Mapping[str, Quirks] = {
    "paper": Quirks(batch=True, enforces_validity=True),
    "binance": _BINANCE,
    "okx": _OKX,
    "bybit": _BYBIT,
}

NEEDED = (
    "createOrder",
    "cancelOrder",
    "fetchOrder",
    "fetchOpenOrders",
    "fetchMyTrades",
    "fetchBalance",
    "fetchTicker",
    "fetchOHLCV",
)


def quirks_of(exchange_id: str) -> Quirks:
    """The exchange's quirks; Binance's manners for those not listed."""
    return _QUIRKS.get(exchange_id, Quirks())


def live_exchanges() -> list[str]:
    """Exchanges that were seen to refuse a stale order request: real orders may go there."""
    return sorted(name for name, quirks in _QUIRKS.items() if quirks.enforces_validity and name != "paper")


def missing_features(has: Mapping[str, Any]) -> list[str]:
    """What Gridflow needs and the exchange has not, in ccxt's words."""
    return [name for name in NEEDED if not has.get(name)]
