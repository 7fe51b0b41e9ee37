"""Ledger records. All amounts Decimal: quote unless named base."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import Field

from tasks.base.money import ZERO
from tasks.exchange.models import Frozen, Side

HOUR_MS = 3_600_000
HOURS_KEPT = 72


class Fill(Frozen):
    """One booked execution. `quote` = price × qty; `fee_quote` the fee's worth in quote at the fill, 0 if unknown."""

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
    filled_basis: Decimal | None = None  # the running sum of the book with this fill in it; None in older records
    earned: Decimal = ZERO  # base that a sell kept at no cost; below 0 where it sold such base


class UnvaluedFee(Frozen):
    """A fee that is booked with its amount of `coin` while its worth in quote is not known yet."""

    coin: str
    amount: Decimal
    at_ms: int


class QueuedFee(Frozen):
    """An entry of a fee queue: a fee that a trade of `source` paid in the base of `payer`, whose cells give it up.

    amount: base of `payer`; worth: in quote, exactly as booked in `source`, None while it is not known there.
    """

    payer: str
    source: str
    trade_id: str
    amount: Decimal
    worth: Decimal | None
    at_ms: int

    @property
    def field(self) -> str:
        """Its name in the queue: the same trade is never queued twice."""
        return f"{self.source}|{self.trade_id}"


class Book(Frozen):
    """Totals of one symbol since its books were opened.

    cash: net change of the quote balance; base: inventory; basis: what the inventory cost, fees included;
    other_fees: by coin, fees that the order's own cell did not pay; other_value: their worth in quote, less the worth
    of the fees of other trades that this symbol's cells paid; received: base that buys brought, fees taken off;
    missing: cost of base that left without a sell, less what came back; missing_base: its amount, less the owner's own
    base that sells took beyond all cells.
    Always: cash − other_value = grid_profit − basis − missing.
    fee_base, fee_basis: base that cells gave up for such fees since the books were opened, and what it had cost.
    unvalued: by trade id, those of other_fees whose worth is not in other_value yet.
    So a coin's amount on the account changes by base + fee_base + missing_base − the other_fees of all symbols,
    whatever is queued, as far as trades and fees change it.
    filled_basis: cost of inventory by the fills alone, a running sum: what buys cost less what sells freed. None in an
    older book, which is taken as right until its next fill.
    hourly_returns: hour (since the epoch) → grid profit per quote allocated when it was made; the last 72 hours.
    """

    symbol: str
    cash: Decimal = ZERO
    base: Decimal = ZERO
    received: Decimal = ZERO
    basis: Decimal = ZERO
    missing: Decimal = ZERO
    missing_base: Decimal = ZERO
    filled_basis: Decimal | None = None
    grid_profit: Decimal = ZERO
    fees: Decimal = ZERO
    other_fees: Mapping[str, Decimal] = Field(default_factory=dict)
    other_value: Decimal = ZERO
    unvalued: Mapping[str, UnvaluedFee] = Field(default_factory=dict)
    fee_base: Decimal = ZERO
    fee_basis: Decimal = ZERO
    volume: Decimal = ZERO
    buys: int = 0
    sells: int = 0
    hourly_returns: Mapping[int, Decimal] = Field(default_factory=dict)
    cursor_ms: int = 0
    opened_ms: int = 0


class Valuation(Frozen):
    """A book at a price: equity_change = grid_profit + floating − missing, exactly.

    `identity_error`: the difference.
    """

    equity_change: Decimal
    grid_profit: Decimal
    floating: Decimal
    missing: Decimal = ZERO
    inventory_value: Decimal
    identity_error: Decimal
