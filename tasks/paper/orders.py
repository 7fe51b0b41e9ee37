"""Placing orders: from what a caller asks, in ccxt's words, to the place script's arguments and its answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ccxt.base import errors

from tasks.base.money import dec, floor_to, round_to
from tasks.paper.matching import PlaceCode, terms
from tasks.paper.scripts import PlaceArgs
from tasks.paper.units import Fees, Filters, to_units

RECV_WINDOW_MS = 5_000
_MAX_WINDOW_MS = 60_000
_CLIENT_ID = re.compile(r"^[.A-Za-z0-9:/_-]{1,36}$")
_KNOWN_PARAMS = {"clientOrderId", "newClientOrderId", "timestamp", "recvWindow", "postOnly", "timeInForce"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order was not placed, with Binance's code and text."""

    error_type: type[Exception]
    code: int
    message: str

    def error(self) -> Exception:
        """The ccxt error that `create_order` raises."""
        return self.error_type(f'paper {{"code":{self.code},"msg":"{self.message}"}}')


REFUSALS = {
    PlaceCode.DUPLICATE: Refusal(errors.DuplicateOrderId, -2010, "Duplicate order sent."),
    PlaceCode.INSUFFICIENT: Refusal(
        errors.InsufficientFunds, -2010, "Account has insufficient balance for requested action."
    ),
    PlaceCode.EXPIRED: Refusal(errors.InvalidNonce, -1021, "Timestamp for this request is outside of the recvWindow."),
    PlaceCode.EARLY: Refusal(
        errors.InvalidNonce, -1021, "Timestamp for this request was 1000ms ahead of the server's time."
    ),
    PlaceCode.WOULD_TAKE: Refusal(errors.OrderImmediatelyFillable, -2010, "Order would immediately match and take."),
}


def filter_refusal(name: str) -> Refusal:
    """An order that breaks filter `name`."""
    return Refusal(errors.InvalidOrder, -1013, f"Filter failure: {name}")


class InvalidRequest(ValueError):
    """A request that no market would accept (ccxt: BadRequest)."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A requested order, rounded as ccxt rounds: the price to the nearest tick, the amount down to the lot.

    `signed` and `valid_until`: the request's time and its end, in ms; None where the request carries no time.
    """

    symbol: str
    type: str
    side: str
    qty: Decimal
    price: Decimal | None
    client: str
    post_only: bool
    signed: int | None
    valid_until: int | None


def new_order(
    symbol: str, kind: str, side: str, amount: Any, price: Any, params: dict[str, Any], filters: Filters
) -> NewOrder:
    """Check and round a request. Raises InvalidRequest."""
    if kind not in {"limit", "market"}:
        raise InvalidRequest(f"order type {kind!r} is not supported: use limit or market")
    if side not in {"buy", "sell"}:
        raise InvalidRequest(f"side {side!r} is not supported: use buy or sell")
    unknown = sorted(params.keys() - _KNOWN_PARAMS)
    if unknown:
        raise InvalidRequest(f"unknown parameter {', '.join(unknown)}")
    post_only = bool(params.get("postOnly")) or params.get("timeInForce") == "PO"
    if params.get("timeInForce", "GTC") not in {"GTC", "PO"}:
        raise InvalidRequest(f"time in force {params['timeInForce']} is not supported: use GTC or PO")
    client = str(params.get("clientOrderId") or params.get("newClientOrderId") or "")
    if client and not _CLIENT_ID.match(client):
        raise InvalidRequest("a client order id has 1 to 36 characters of A-Z a-z 0-9 . : / _ -")
    signed, valid_until = _validity(params)
    return NewOrder(
        symbol=symbol,
        type=kind,
        side=side,
        qty=floor_to(_number(amount, "amount"), filters.lot),
        price=round_to(_number(price, "price"), filters.tick) if kind == "limit" else None,
        client=client,
        post_only=post_only,
        signed=signed,
        valid_until=valid_until,
    )


def _number(value: Any, name: str) -> Decimal:
    try:
        return dec(value)
    except (ValueError, ArithmeticError):
        raise InvalidRequest(f"{name} {value!r} is not a number") from None


def _validity(params: dict[str, Any]) -> tuple[int | None, int | None]:
    if params.get("timestamp") is None:
        return None, None
    try:
        signed, window = int(params["timestamp"]), int(params.get("recvWindow", RECV_WINDOW_MS))
    except (ValueError, TypeError):
        raise InvalidRequest("timestamp and recvWindow must be whole milliseconds") from None
    if not 0 < window <= _MAX_WINDOW_MS:
        raise InvalidRequest(f"recvWindow must be above 0 and at most {_MAX_WINDOW_MS}")
    return signed, signed + window


def broken_filter(order: NewOrder, filters: Filters, market_price: int) -> str | None:
    """The filter that the order breaks, in Binance's words, or None."""
    price = order.price if order.price is not None else Decimal(market_price).scaleb(-8)
    if not filters.min_price <= price <= filters.max_price and order.price is not None:
        return "PRICE_FILTER"
    if not filters.min_qty <= order.qty <= filters.max_qty:
        return "LOT_SIZE"
    return "NOTIONAL" if price * order.qty < filters.min_notional else None


def place_args(order: NewOrder, fees: Fees, market_price: int) -> PlaceArgs:
    """One order for place.lua, with its amounts at `market_price` (units)."""
    price, qty = to_units(order.price) if order.price is not None else 0, to_units(order.qty)
    mode, _, amounts = terms(order.side, price, qty, order.post_only, market_price, fees)
    return PlaceArgs(
        client=order.client,
        side=order.side[0],
        type=order.type,
        tif="IOC" if order.type == "market" else "PO" if order.post_only else "GTC",
        price=str(price),
        qty=str(qty),
        mode=mode,
        lock=str(amounts.lock),
        credit=str(amounts.credit),
        cost=str(amounts.cost),
        fee=str(amounts.fee),
        fee_in=amounts.fee_in,
        signed="" if order.signed is None else str(order.signed),
        valid_until="" if order.valid_until is None else str(order.valid_until),
    )


class Batch:
    """Orders of one symbol for one call of the place script. Orders that break a filter are refused without it."""

    def __init__(self, orders: Sequence[NewOrder], filters: Filters, fees: Fees) -> None:
        self.symbol = orders[0].symbol
        self._orders, self._filters, self._fees = list(orders), filters, fees
        self._refused: dict[int, Refusal] = {}

    def args(self, price: int) -> list[str]:
        """Script arguments at `price` (units). Called again when the price has moved before the script ran."""
        self._refused = {}
        args: list[str] = []
        for number, order in enumerate(self._orders):
            broken = broken_filter(order, self._filters, price)
            if broken:
                self._refused[number] = filter_refusal(broken)
            else:
                args += place_args(order, self._fees, price)
        return args

    def outcomes(self, texts: Sequence[str]) -> list[Refusal | str]:
        """Per order, in the order given: its record, or why it was refused."""
        answers = iter(texts)
        return [self._refused.get(number) or _outcome(next(answers)) for number in range(len(self._orders))]


def _outcome(text: str) -> Refusal | str:
    code, _, record = text.partition("|")
    return record if int(code) == PlaceCode.OK else REFUSALS[PlaceCode(int(code))]
