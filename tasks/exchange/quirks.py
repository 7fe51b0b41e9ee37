"""Where exchanges differ in ways ccxt does not hide: client ids, request validity, batches. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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
    return {"expTime": str(signed_at_ms + valid_ms)}


def _from_order_id(last_id: str | None) -> dict[str, Any]:
    return {"orderId": int(last_id) + 1 if last_id else 0}


def _from_trade_id(last_id: str | None) -> dict[str, Any]:
    return {"fromId": int(last_id) + 1 if last_id else 0}


@dataclass(frozen=True)
class Quirks:
    """How one exchange wants it.

    `validity` turns (time signed, ms valid) into params that make the exchange refuse a stale request.
    `page_orders` and `page_trades` ask for what follows an id, where a time would reach back a day only.
    `all_orders_from` symbols on, one call for all open orders is lighter than one each.
    `enforces_validity`: it was seen to refuse a stale request that way; without it no real order may be sent.
    `batch` tells whether ccxt's batch calls work for spot there.
    """

    encode_id: Callable[[str], str] = _as_is
    decode_id: Callable[[str], str] = _as_is
    validity: Callable[[int, int], dict[str, Any]] = _recv_window
    batch: bool = False
    enforces_validity: bool = False
    all_orders_from: int = 2
    page_orders: Callable[[str | None], dict[str, Any]] | None = None
    page_trades: Callable[[str | None], dict[str, Any]] | None = None


_QUIRKS: Mapping[str, Quirks] = {
    "paper": Quirks(batch=True, enforces_validity=True),
    "binance": Quirks(
        enforces_validity=True, all_orders_from=14, page_orders=_from_order_id, page_trades=_from_trade_id
    ),
    "okx": Quirks(encode_id=_letters_only, decode_id=_with_hyphens, validity=_expiry),
    "bybit": Quirks(),
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


def missing_features(has: Mapping[str, Any]) -> list[str]:
    """What Gridflow needs and the exchange has not, in ccxt's words."""
    return [name for name in NEEDED if not has.get(name)]
