"""Fills as rows that tax tools read. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from tasks.base.money import plain
from tasks.exchange.models import Side
from tasks.ledger.models import Fill


class TaxFormat(StrEnum):
    """Layout of the file."""

    CSV = "csv"  # every field that a tax report needs, one row a fill
    KOINLY = "koinly"  # Koinly's custom CSV template


def tax_row(fill: Fill, layout: TaxFormat) -> Mapping[str, str]:
    """One fill by column name; times in UTC, amounts exact."""
    return _koinly(fill) if layout is TaxFormat.KOINLY else _plain(fill)


def columns(layout: TaxFormat) -> list[str]:
    """The names of the columns."""
    return list(tax_row(_EXAMPLE, layout))


def _plain(fill: Fill) -> dict[str, str]:
    base, _, quote = fill.symbol.partition("/")
    return {
        "time_utc": f"{_time(fill):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "trade_id": fill.trade_id,
        "order_id": fill.client_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "base": base,
        "quote": quote,
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "value": plain(fill.quote),
        "fee": plain(fill.fee),
        "fee_coin": fill.fee_currency,
        "fee_value": plain(fill.fee_quote),
        "profit": plain(fill.profit),
    }


def _koinly(fill: Fill) -> dict[str, str]:
    """The columns of Koinly's universal CSV file."""
    base, _, quote = fill.symbol.partition("/")
    of_base, of_quote = (plain(fill.qty), base), (plain(fill.quote), quote)
    sent, received = (of_quote, of_base) if fill.side is Side.BUY else (of_base, of_quote)
    return {
        "Date": f"{_time(fill):%Y-%m-%d %H:%M:%S} UTC",
        "Sent Amount": sent[0],
        "Sent Currency": sent[1],
        "Received Amount": received[0],
        "Received Currency": received[1],
        "Fee Amount": plain(fill.fee) if fill.fee else "",
        "Fee Currency": fill.fee_currency if fill.fee else "",
        "Net Worth Amount": "",
        "Net Worth Currency": "",
        "Label": "",
        "Description": f"{fill.symbol} {fill.side.value}",
        "TxHash": fill.trade_id,
    }


def _time(fill: Fill) -> datetime:
    return datetime.fromtimestamp(fill.at_ms / 1000, UTC)


_ONE = Decimal(1)
_EXAMPLE = Fill(
    trade_id="",
    client_id="",
    symbol="A/B",
    cell_key="",
    side=Side.BUY,
    price=_ONE,
    qty=_ONE,
    quote=_ONE,
    fee=_ONE,
    fee_currency="",
    fee_quote=_ONE,
    maker=True,
    at_ms=0,
    basis=_ONE,
    profit=_ONE,
)
