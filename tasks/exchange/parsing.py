"""Turns ccxt's answers into Gridflow's records. Floats become Decimal here and nowhere else."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
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
_UNREADABLE = (ValidationError, ArithmeticError, ValueError, KeyError, TypeError)
_warned: set[tuple[str, str]] = set()  # records that a warning was logged for

STATUS = {
    "open": OrderStatus.OPEN,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "canceling": OrderStatus.OPEN,
    "expired": OrderStatus.CANCELLED,
    "rejected": OrderStatus.REJECTED,
}
# Errors that mean "not placed", most specific first. After any other error while placing, the outcome is unknown.
# DuplicateOrderId is not among them: it means that an order with this id exists.
_CLEAR_REFUSALS: tuple[tuple[type[Exception], RejectReason], ...] = (
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

# Error texts of single orders in a batch, as Binance and the paper exchange word them; more specific ones first.
_BATCH_REASONS = (
    ("Duplicate", None),
    ("immediately match", RejectReason.WOULD_TAKE),
    ("insufficient balance", RejectReason.INSUFFICIENT_FUNDS),
    ("Timestamp", RejectReason.EXPIRED_REQUEST),
    ("Filter failure", RejectReason.FILTER),
)


_QUERY = re.compile(r"""\?[^\s"']*""")


def error_text(error: Exception) -> str:
    """The error's text, cut short, without URL queries: those hold signatures.

    Removes the query from ccxt's own error as well, because tracebacks show it as the cause of ours.
    """
    text = _QUERY.sub("", str(error))
    if isinstance(error, ccxt.BaseError):
        error.args = (text,)
    return text[:200]


def batch_refusal(info: Mapping[str, Any], client_id: str) -> Placement:
    """The result for an order that was refused inside a batch.

    Unknown for a duplicate id: an order with this id exists, so its outcome has to be looked up.
    """
    message = str(info.get("msg", ""))
    reason = next((reason for text, reason in _BATCH_REASONS if text in message), RejectReason.OTHER)
    if reason is None:
        return Unknown(client_id=client_id, detail=message)
    return Rejected(client_id=client_id, reason=reason, detail=message)


def refusal_of(error: Exception, client_id: str) -> Placement:
    """The result for an order whose request raised `error`: Rejected only when it was clearly not placed.

    A duplicate id means that an order with this id exists. Most exchanges' refusals of that kind have no class of
    their own in ccxt, so the text is checked as well.
    """
    text = error_text(error)
    if isinstance(error, ccxt.DuplicateOrderId) or "duplicate" in str(error).lower():
        return Unknown(client_id=client_id, detail=f"{type(error).__name__}: {text}")
    for kind, reason in _CLEAR_REFUSALS:
        if isinstance(error, kind):
            return Rejected(client_id=client_id, reason=reason, detail=text)
    return Unknown(client_id=client_id, detail=f"{type(error).__name__}: {text}")


def or_zero(value: Any) -> Decimal:
    """Missing amounts are 0."""
    return ZERO if value is None else dec(value)


def ticker_of(symbol: str, raw: Mapping[str, Any], own_time: Callable[[int], int], requested_ms: int) -> Ticker | None:
    """A ticker by our own clock; None when a price is missing or not positive.

    A ticker without a time gets the time of our request (`requested_ms`).
    """
    try:
        stamp = raw.get("timestamp")
        return Ticker(
            symbol=symbol,
            bid=dec(raw["bid"]),
            ask=dec(raw["ask"]),
            last=dec(raw["last"]),
            at_ms=requested_ms if stamp is None else own_time(int(stamp)),
        )
    except (ArithmeticError, ValueError, KeyError, TypeError):
        return None


def order_of(raw: Mapping[str, Any], venue: Venue) -> Order:
    """An order. Raises ExchangeUnavailable when it cannot be read."""
    try:
        client_id = venue.decode_order_id(str(raw.get("clientOrderId") or ""))
        fields = (raw["id"], raw["symbol"], raw["side"], raw["amount"])
        return _order(*fields, client_id, raw.get("price"), raw.get("filled"), raw.get("status"), raw.get("timestamp"))
    except _UNREADABLE as error:
        raise ExchangeUnavailable("an order in the answer is unreadable") from error


@lru_cache(maxsize=8192)  # an order that rests is read at every tick and rarely changes
def _order(
    order_id: Any, symbol: Any, side: Any, qty: Any, client_id: str, price: Any, filled: Any, status: Any, at_ms: Any
) -> Order:
    return Order(
        exchange_id=str(order_id),
        client_id=client_id,
        symbol=symbol,
        side=Side(side),
        price=or_zero(price),
        qty=dec(qty),
        filled=or_zero(filled),
        status=STATUS.get(str(status), OrderStatus.OPEN),
        at_ms=int(at_ms or 0),
    )


def trade_of(raw: Mapping[str, Any], venue: Venue) -> Trade:
    """A trade. Raises ExchangeUnavailable when it cannot be read."""
    try:
        fee, client_id = raw.get("fee") or {}, raw.get("clientOrderId")
        fields = (raw["id"], raw["order"], raw["symbol"], raw["side"], raw["price"], raw["amount"], raw["timestamp"])
        name = venue.decode_order_id(str(client_id)) if client_id else None
        return _trade(*fields, name, fee.get("cost"), fee.get("currency"), raw.get("takerOrMaker"))
    except _UNREADABLE as error:
        raise ExchangeUnavailable("a trade in the answer is unreadable") from error


@lru_cache(maxsize=8192)  # the newest trades are read again until they are older than the overlap
def _trade(
    trade_id: Any,
    order_id: Any,
    symbol: Any,
    side: Any,
    price: Any,
    qty: Any,
    at_ms: Any,
    client_id: str | None,
    fee: Any,
    fee_currency: Any,
    role: Any,
) -> Trade:
    return Trade(
        trade_id=str(trade_id),
        exchange_id=str(order_id),
        client_id=client_id,
        symbol=symbol,
        side=Side(side),
        price=dec(price),
        qty=dec(qty),
        fee=or_zero(fee),
        fee_currency=str(fee_currency or ""),
        maker=role == "maker",
        at_ms=int(at_ms),
    )


def listed_order(raw: Mapping[str, Any], venue: Venue) -> Order | None:
    """An order from a list; None for an unreadable order that is not ours (all of ours carry an id that we made).

    Raises ExchangeUnavailable for an unreadable order of ours.
    """
    try:
        return order_of(raw, venue)
    except ExchangeUnavailable:
        if _has_our_id(raw, venue):
            raise
        _warn_once("order", raw)
        return None


def listed_trade(raw: Mapping[str, Any], venue: Venue) -> Trade | None:
    """A trade from a list; None for an unreadable trade with a client id that is not ours.

    Raises ExchangeUnavailable for any other unreadable trade: few exchanges put the client id into their trades.
    """
    try:
        return trade_of(raw, venue)
    except ExchangeUnavailable:
        if not raw.get("clientOrderId") or _has_our_id(raw, venue):
            raise
        _warn_once("trade", raw)
        return None


def _has_our_id(raw: Mapping[str, Any], venue: Venue) -> bool:
    return is_gridflow_id(venue.decode_order_id(str(raw.get("clientOrderId") or "")))


def _warn_once(kind: str, raw: Mapping[str, Any]) -> None:
    record = (kind, str(raw.get("id")))
    if record not in _warned:
        _warned.add(record)
        fields = {"kind": kind, "record": record[1], "symbol": raw.get("symbol")}
        log.warning("a record that is not ours is unreadable and left out", extra=fields)


def market_of(raw: Mapping[str, Any], precision_mode: int, venue: Venue) -> Market:
    """A market's filters and fees. `precision_mode`: whether ccxt gives steps (TICK_SIZE) or numbers of decimals."""

    def step(precision: float | int) -> Decimal:
        return dec(precision) if precision_mode == ccxt.TICK_SIZE else Decimal(1).scaleb(-int(precision))

    listed = raw.get("info") or {}
    limits, bands = raw["limits"], venue.price_bands(listed)
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
        max_orders=venue.listed_max_orders(listed) or venue.max_orders,
        buy_band=bands[Side.BUY],
        sell_band=bands[Side.SELL],
        maker_fee=dec(raw["maker"]),
        taker_fee=dec(raw["taker"]),
    )


def _or_none(value: Any) -> Decimal | None:
    """A limit; None where there is none, which some exchanges write as 0."""
    return dec(value) if value else None


def candle_of(row: Sequence[Any]) -> Candle:
    """One of ccxt's bars: time in ms, open, high, low, close, volume in base."""
    names = ("open", "high", "low", "close", "volume")
    return Candle(at_ms=int(row[0]), **{name: dec(value) for name, value in zip(names, row[1:6], strict=True)})
