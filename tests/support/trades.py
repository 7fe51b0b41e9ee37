"""Executions of one order."""

from decimal import Decimal

from tasks.exchange.models import Side, Trade
from tests.support.grids import BTC


def trade(number: int, side: Side, qty: Decimal, price: Decimal, coin: str, fee: Decimal) -> Trade:
    """One execution."""
    return Trade(
        trade_id=str(number),
        exchange_id="1",
        symbol=BTC,
        side=side,
        price=price,
        qty=qty,
        fee=fee,
        fee_currency=coin,
        maker=True,
        at_ms=number,
    )
