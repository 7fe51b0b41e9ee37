"""Order entry: from what a caller asks, in ccxt's words, to the place script's arguments and its answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ccxt.base import errors

from tasks.base.money import dec, floor_to, round_to
from tasks.paper.scripts import PlaceCode
from tasks.paper.units import Fees, Filters, to_units

RECV_WINDOW_MS = 5_000
_MAX_WINDOW_MS = 60_000
_CLIENT_ID = re.compile(r"^[.A-Za-z0-9:/_-]{1,36}$")
_KNOWN_PARAMS = {"clientOrderId", "newClientOrderId", "timestamp", "recvWindow", "postOnly", "timeInForce"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A clear no: nothing was placed."""

    kind: type[Exception]
    code: int
    message: str

    def error(self) -> Exception:
        """The ccxt error that a single order's caller gets."""
        return self.kind(f'paper {{"code":{self.code},"msg":"{self.message}"}}')


BY_CODE = {
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


class Malformed(ValueError):
    """A request that makes no sense, whatever the market (ccxt: BadRequest)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An order as asked, rounded as ccxt rounds: the price to the nearest tick, the amount down to the lot."""

    symbol: str
    type: str
    side: str
    qty: Decimal
    price: Decimal | None
    client: str
    post_only: bool
    signed: int | None
    valid_until: int | None


def entry_of(
    symbol: str, kind: str, side: str, amount: Any, price: Any, params: dict[str, Any], filters: Filters
) -> Entry:
    """Checks the request's form. Raises Malformed."""
    if kind not in {"limit", "market"}:
        raise Malformed(f"order type {kind!r} is not offered: limit or market")
    if side not in {"buy", "sell"}:
        raise Malformed(f"side {side!r}: buy or sell")
    unknown = sorted(params.keys() - _KNOWN_PARAMS)
    if unknown:
        raise Malformed(f"unknown parameter {', '.join(unknown)}")
    post_only = bool(params.get("postOnly")) or params.get("timeInForce") == "PO"
    if params.get("timeInForce", "GTC") not in {"GTC", "PO"}:
        raise Malformed(f"time in force {params['timeInForce']} is not offered: GTC or PO")
    client = str(params.get("clientOrderId") or params.get("newClientOrderId") or "")
    if client and not _CLIENT_ID.match(client):
        raise Malformed("a client order id has 1 to 36 characters of A-Z a-z 0-9 . : / _ -")
    signed, valid_until = _validity(params)
    return Entry(
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
        raise Malformed(f"{name} {value!r} is not a number") from None


def _validity(params: dict[str, Any]) -> tuple[int | None, int | None]:
    if params.get("timestamp") is None:
        return None, None
    try:
        signed, window = int(params["timestamp"]), int(params.get("recvWindow", RECV_WINDOW_MS))
    except (ValueError, TypeError):
        raise Malformed("timestamp and recvWindow are whole milliseconds") from None
    if not 0 < window <= _MAX_WINDOW_MS:
        raise Malformed(f"recvWindow must be above 0 and at most {_MAX_WINDOW_MS}")
    return signed, signed + window


def broken_filter(entry: Entry, filters: Filters, market_price: int) -> str | None:
    """The filter that the order breaks, in Binance's words, or None."""
    price = entry.price if entry.price is not None else Decimal(market_price).scaleb(-8)
    if not filters.min_price <= price <= filters.max_price and entry.price is not None:
        return "PRICE_FILTER"
    if not filters.min_qty <= entry.qty <= filters.max_qty:
        return "LOT_SIZE"
    return "NOTIONAL" if price * entry.qty < filters.min_notional else None


def place_args(entry: Entry, fees: Fees, market_price: int) -> list[str]:
    """The 14 arguments of one order for place.lua, worked out for `market_price` (units)."""
    price, qty = to_units(entry.price) if entry.price is not None else 0, to_units(entry.qty)
    matches = not price or (price >= market_price if entry.side == "buy" else price <= market_price)
    mode = ("refuse" if entry.post_only else "take") if matches else "rest"
    at, share = (market_price, fees.taker) if matches else (price, fees.maker)
    terms = fees.terms(entry.side, at, qty, share)
    tif = "IOC" if entry.type == "market" else "PO" if entry.post_only else "GTC"
    signed, until = (str(entry.signed), str(entry.valid_until)) if entry.signed is not None else ("", "")
    money = (terms.lock, terms.credit, terms.cost, terms.fee)
    return [
        entry.client,
        entry.side[0],
        entry.type,
        tif,
        *map(str, (price, qty)),
        mode,
        *map(str, money),
        terms.fee_in,
        signed,
        until,
    ]


class Batch:
    """Orders that pass the filters go to the script; the others are refused here, at the same price."""

    def __init__(self, entries: Sequence[Entry], filters: Filters, fees: Fees) -> None:
        self.symbol = entries[0].symbol
        self._entries, self._filters, self._fees = list(entries), filters, fees
        self._refused: dict[int, Refusal] = {}

    def args(self, price: int) -> list[str]:
        """Script arguments at `price` (units); asked again where the price has moved meanwhile."""
        self._refused = {}
        args = []
        for number, entry in enumerate(self._entries):
            broken = broken_filter(entry, self._filters, price)
            if broken:
                self._refused[number] = filter_refusal(broken)
            else:
                args += place_args(entry, self._fees, price)
        return args

    def outcomes(self, texts: Sequence[str]) -> list[Refusal | str]:
        """Per order, in the order asked: its record, or why it was refused."""
        answers = iter(texts)
        return [self._refused.get(number) or _outcome(next(answers)) for number in range(len(self._entries))]


def _outcome(text: str) -> Refusal | str:
    code, _, record = text.partition("|")
    return record if int(code) == PlaceCode.OK else BY_CODE[PlaceCode(int(code))]
