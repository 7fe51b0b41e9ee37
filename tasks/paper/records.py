"""Orders and trades as the scripts store them (fields joined by `|`; see engine.lua). Pure."""

from typing import NamedTuple

SIDES = {"b": "buy", "s": "sell"}


class OrderRecord(NamedTuple):
    """One order; numbers as text, in units of 1e-8, times in ms."""

    id: str
    client: str
    side: str
    type: str
    tif: str
    price: str
    qty: str
    lock: str
    credit: str
    cost: str
    fee: str
    fee_in: str
    status: str
    created: str
    updated: str
    trade: str
    fill_price: str
    market_time: str


class TradeRecord(NamedTuple):
    """One execution; numbers as text, in units of 1e-8, times in ms."""

    id: str
    order: str
    client: str
    side: str
    price: str
    qty: str
    cost: str
    fee: str
    fee_in: str
    role: str
    at: str
    market_time: str


def order_of(text: str) -> OrderRecord:
    """The order in a stored text."""
    return OrderRecord(*text.split("|"))


def trade_of(text: str) -> TradeRecord:
    """The trade in a stored text."""
    return TradeRecord(*text.split("|"))
