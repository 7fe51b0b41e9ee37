"""Ledger records. All amounts Decimal: quote unless named base."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import Field

from tasks.base.money import ZERO
from tasks.exchange.models import Frozen, Side

HOUR_MS = 3_600_000
HOURS_KEPT = 72


class Fill(Frozen):
    """One booked execution. `quote` = price × qty; `fee_quote` the fee's worth in quote at the fill."""

    trade_id: str
    client_id: str
    symbol: str
    cell_key: str
    side: Side
    price: Decimal
    qty: Decimal
    quote: Decimal
    fee: Decimal
    fee_currency: str
    fee_quote: Decimal
    maker: bool
    at_ms: int
    basis: Decimal  # cost added by a buy, cost freed by a sell
    profit: Decimal  # of a sell, after all fees; 0 for a buy


class Book(Frozen):
    """Totals of one symbol since its books were opened.

    cash: net change of the quote balance; base: inventory; basis: what the inventory cost, fees included;
    other_value: worth in quote of fees paid in a third coin. Always: cash − other_value = grid_profit − basis.
    hourly_returns: hour (since the epoch) → grid profit per quote allocated when it was made; the last 72 hours.
    """

    symbol: str
    cash: Decimal = ZERO
    base: Decimal = ZERO
    basis: Decimal = ZERO
    grid_profit: Decimal = ZERO
    fees: Decimal = ZERO
    other_fees: Mapping[str, Decimal] = Field(default_factory=dict)
    other_value: Decimal = ZERO
    volume: Decimal = ZERO
    buys: int = 0
    sells: int = 0
    hourly_returns: Mapping[int, Decimal] = Field(default_factory=dict)
    cursor_ms: int = 0
    opened_ms: int = 0


class Valuation(Frozen):
    """A book at a price: equity_change = grid_profit + floating, exactly; `identity_error` is their difference."""

    equity_change: Decimal
    grid_profit: Decimal
    floating: Decimal
    inventory_value: Decimal
    identity_error: Decimal
