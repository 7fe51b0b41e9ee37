"""ccxt's answers as Gridflow's records. Floats become Decimal here and nowhere else."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import ccxt
from pydantic import ValidationError

from tasks.base.errors import ExchangeUnavailable, RejectReason
from tasks.base.money import ZERO, dec
from tasks.exchange.limits.budget import BudgetExhausted
from tasks.exchange.models import (
    Candle,
    Market,
    Order,
    OrderStatus,
    Placement,
    Rejected,
    Side,
    Ticker,
    Trade,
    Unknown,
)
from tasks.exchange.order_ids import is_gridflow_id
from tasks.exchange.venues.venue import Venue

log = logging.getLogger(__name__)
_left_out: set[tuple[str, str]] = set()  # what was warned of already

STATUS = {
    "open": OrderStatus.OPEN,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "canceling": OrderStatus.OPEN,
    "expired": OrderStatus.CANCELLED,
    "rejected": OrderStatus.REJECTED,
}
# A clear no, most specific first; anything else that goes wrong while placing leaves the outcome unknown.
# A duplicate id is not among them: it says that an order with this id exists.
_CLEAR_NO: tuple[tuple[type[Exception], RejectReason], ...] = (
    (BudgetExhausted, RejectReason.RATE_LIMITED),
    (ccxt.InsufficientFunds, RejectReason.INSUFFICIENT_FUNDS),
    (ccxt.OrderImmediatelyFillable, RejectReason.WOULD_TAKE),
    (ccxt.InvalidNonce, RejectReason.EXPIRED_REQUEST),
    (ccxt.InvalidOrder, RejectReason.FILTER),
    (ccxt.BadSymbol, RejectReason.OTHER),
    (ccxt.BadRequest, RejectReason.FILTER),
    (ccxt.PermissionDenied, RejectReason.OTHER),
    (ccxt.AuthenticationError, RejectReason.OTHER),
)

# What an exchange says of one order inside a batch, in Binance's words; more specific texts first.
_BATCH_REASONS = (
    ("Duplicate", None),
    ("immediately match", RejectReason.WOULD_TAKE),
    ("insufficient balance", RejectReason.INSUFFICIENT_FUNDS),
    ("Timestamp", RejectReason.EXPIRED_REQUEST),
    ("Filter failure", RejectReason.FILTER),
)


_QUERY = re.compile(r"""\?[^\s"']*""")


def said_by(error: Exception) -> str:
    """What an error says, cut short, without the query of a URL in it: that holds a signature.

    ccxt's own error loses the query too: it stays behind ours as its cause, and stands in tracebacks.
    """
    text = _QUERY.sub("", str(error))
    if isinstance(error, ccxt.BaseError):
        error.args = (text,)
    return text[:200]


def batch_refusal(info: Mapping[str, Any], client_id: str) -> Placement:
    """A refusal inside a batch. A duplicate id says that the order exists, so its outcome is to be looked up."""
    said = str(info.get("msg", ""))
    reason = next((reason for text, reason in _BATCH_REASONS if text in said), RejectReason.OTHER)
    if reason is None:
        return Unknown(client_id=client_id, detail=said)
    return Rejected(client_id=client_id, reason=reason, detail=said)


def refusal_of(error: Exception, client_id: str) -> Placement:
    """What an error while placing means: a clear no, or an unknown outcome.

    A duplicate id says that an order with this id exists, in whatever words: ccxt has none of its own for most.
    """
    said = said_by(error)
    if isinstance(error, ccxt.DuplicateOrderId) or "duplicate" in str(error).lower():
        return Unknown(client_id=client_id, detail=f"{type(error).__name__}: {said}")
    for kind, reason in _CLEAR_NO:
        if isinstance(error, kind):
            return Rejected(client_id=client_id, reason=reason, detail=said)
    return Unknown(client_id=client_id, detail=f"{type(error).__name__}: {said}")


def or_zero(value: Any) -> Decimal:
    """Missing amounts are 0."""
    return ZERO if value is None else dec(value)


def ticker_of(symbol: str, raw: Mapping[str, Any], own_time: Callable[[int], int], asked_ms: int) -> Ticker | None:
    """A ticker on our own clock; None when its prices cannot be used (some answers come back all empty).

    One without a time of its own is as old as our question (`asked_ms`).
    """
    try:
        stamp = raw.get("timestamp")
        return Ticker(
            symbol=symbol,
            bid=dec(raw["bid"]),
            ask=dec(raw["ask"]),
            last=dec(raw["last"]),
            at_ms=asked_ms if stamp is None else own_time(int(stamp)),
        )
    except (ArithmeticError, ValueError, KeyError, TypeError):
        return None


def order_of(raw: Mapping[str, Any], venue: Venue) -> Order:
    """An order. Raises ExchangeUnavailable when it cannot be read."""
    try:
        return Order(
            exchange_id=str(raw["id"]),
            client_id=venue.decode_order_id(str(raw.get("clientOrderId") or "")),
            symbol=raw["symbol"],
            side=Side(raw["side"]),
            price=or_zero(raw.get("price")),
            qty=dec(raw["amount"]),
            filled=or_zero(raw.get("filled")),
            status=STATUS.get(str(raw.get("status")), OrderStatus.OPEN),
            at_ms=int(raw.get("timestamp") or 0),
        )
    except (ValidationError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        raise ExchangeUnavailable("an order in the answer is unreadable") from error


def trade_of(raw: Mapping[str, Any], venue: Venue) -> Trade:
    """A trade. Raises ExchangeUnavailable when it cannot be read."""
    try:
        fee, client_id = raw.get("fee") or {}, raw.get("clientOrderId")
        return Trade(
            trade_id=str(raw["id"]),
            exchange_id=str(raw["order"]),
            client_id=venue.decode_order_id(str(client_id)) if client_id else None,
            symbol=raw["symbol"],
            side=Side(raw["side"]),
            price=dec(raw["price"]),
            qty=dec(raw["amount"]),
            fee=or_zero(fee.get("cost")),
            fee_currency=str(fee.get("currency") or ""),
            maker=raw.get("takerOrMaker") == "maker",
            at_ms=int(raw["timestamp"]),
        )
    except (ValidationError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        raise ExchangeUnavailable("a trade in the answer is unreadable") from error


def listed_order(raw: Mapping[str, Any], venue: Venue) -> Order | None:
    """An order out of a list; None for one that cannot be read and is not ours (ours all carry an id we made).

    Raises ExchangeUnavailable for one of ours that cannot be read.
    """
    try:
        return order_of(raw, venue)
    except ExchangeUnavailable:
        if _has_our_name(raw, venue):
            raise
        _leave_out("order", raw)
        return None


def listed_trade(raw: Mapping[str, Any], venue: Venue) -> Trade | None:
    """A trade out of a list; None for one that cannot be read and carries somebody else's client id.

    Raises ExchangeUnavailable for any other that cannot be read: few exchanges put the client id into their trades.
    """
    try:
        return trade_of(raw, venue)
    except ExchangeUnavailable:
        if not raw.get("clientOrderId") or _has_our_name(raw, venue):
            raise
        _leave_out("trade", raw)
        return None


def _has_our_name(raw: Mapping[str, Any], venue: Venue) -> bool:
    return is_gridflow_id(venue.decode_order_id(str(raw.get("clientOrderId") or "")))


def _leave_out(kind: str, raw: Mapping[str, Any]) -> None:
    which = (kind, str(raw.get("id")))
    if which not in _left_out:
        _left_out.add(which)
        fields = {"kind": kind, "record": which[1], "symbol": raw.get("symbol")}
        log.warning("somebody else's record in the exchange's answer is unreadable and left out", extra=fields)


def market_of(raw: Mapping[str, Any], precision_mode: int, venue: Venue) -> Market:
    """A market's filters and fees. `precision_mode`: ccxt gives steps (TICK_SIZE) or numbers of decimals."""

    def step(precision: float | int) -> Decimal:
        return dec(precision) if precision_mode == ccxt.TICK_SIZE else Decimal(1).scaleb(-int(precision))

    limits, bands = raw["limits"], venue.price_bands(raw.get("info") or {})
    return Market(
        symbol=raw["symbol"],
        base=raw["base"],
        quote=raw["quote"],
        tick_size=step(raw["precision"]["price"]),
        lot_step=step(raw["precision"]["amount"]),
        min_qty=or_zero(limits["amount"].get("min")),
        max_qty=_or_none(limits["amount"].get("max")),
        min_notional=or_zero(limits["cost"].get("min")),
        max_notional=_or_none(limits["cost"].get("max")),
        buy_band=bands[Side.BUY],
        sell_band=bands[Side.SELL],
        maker_fee=dec(raw["maker"]),
        taker_fee=dec(raw["taker"]),
    )


def _or_none(value: Any) -> Decimal | None:
    """No bound, or 0 where an exchange means none, is None."""
    return dec(value) if value else None


def candle_of(row: Sequence[Any]) -> Candle:
    """One of ccxt's bars: time in ms, open, high, low, close, volume in base."""
    names = ("open", "high", "low", "close", "volume")
    return Candle(at_ms=int(row[0]), **{name: dec(value) for name, value in zip(names, row[1:6], strict=True)})
