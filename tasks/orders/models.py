"""The journal: an `Intent` is written, and its money reserved, before an order is sent."""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from tasks.base.money import ZERO
from tasks.exchange.models import Frozen, NotNegative, Order, Positive, Side, Trade


class IntentState(StrEnum):
    """INTENT → OPEN → PARTIAL → FILLED | CANCELLED; INTENT → REJECTED | UNKNOWN → any, or NEVER_PLACED.

    INTENT means "may have been sent": it is written before the request, and an order without an answer is looked up
    in any case. A separate state for "sent" would cost a write and change nothing.
    """

    INTENT = "INTENT"
    OPEN = "OPEN"
    PARTIAL = "PARTIAL"
    UNKNOWN = "UNKNOWN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    NEVER_PLACED = "NEVER_PLACED"

    @property
    def ended(self) -> bool:
        """Whether the order can no longer change."""
        return self in _ENDED


_ENDED = {IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED, IntentState.NEVER_PLACED}


class Intent(Frozen):
    """One journalled order. Amounts in base, price in quote, `units` the quote reserved (1e-8), times in ms."""

    client_id: str
    symbol: str
    cell_key: str
    side: Side
    price: Positive
    qty: Positive
    cycle: int
    units: int
    post_only: bool
    created_ms: int
    units_left: int  # of the reservation, after the fills booked so far
    state: IntentState = IntentState.INTENT
    exchange_id: str | None = None
    filled: NotNegative = ZERO
    quote_filled: Decimal = ZERO
    trade_ids: tuple[str, ...] = ()
    behind: bool = False  # the exchange reports more filled than the trades known so far
    missing_ms: int | None = None  # since when the exchange has known nothing of an order that it had accepted
    ended_ms: int | None = None
    note: str = ""
    orphan: bool = False  # found on the exchange without a journal entry: it is cancelled, and its fills are booked

    @property
    def is_doubtful(self) -> bool:
        """Whether the outcome of the order, or a fill of it, is not known."""
        return self.state in (IntentState.INTENT, IntentState.UNKNOWN) or self.behind

    def take_for(self, qty: Decimal, used_delta: int) -> int:
        """Units (1e-8 quote) that a fill of `qty` takes from the reservation.

        Its share of the order, at least what it cost, at most what is left.
        """
        if self.units == 0:
            return 0
        return min(self.units_left, max(int(self.units * qty / self.qty), used_delta))


class Evidence(NamedTuple):
    """What the exchange showed of one intent. `looked_up`: whether it was looked up by id.

    `trades`: may hold trades of other orders too. Made for every order at every tick, so it is not validated again.
    """

    resting: Order | None = None
    looked_up: bool = False
    found: Order | None = None
    trades: tuple[Trade, ...] = ()
