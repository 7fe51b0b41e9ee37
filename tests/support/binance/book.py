"""Orders and trades. An order keeps every state it went through, so that a stale read can be answered."""

from dataclasses import dataclass, field
from decimal import Decimal

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(frozen=True)
class OrderState:
    """An order from event number `seq` on; `executed` in base, `spent` in quote; its price and amount then."""

    seq: int
    at_ms: int
    status: str
    executed: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    qty: Decimal = Decimal(0)

    @property
    def open(self) -> bool:
        """Whether it rests in the book."""
        return self.status in OPEN


@dataclass
class BookOrder:
    """One accepted order."""

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    price: Decimal
    qty: Decimal
    states: list[OrderState] = field(default_factory=list)

    @property
    def now(self) -> OrderState:
        """Its latest state."""
        return self.states[-1]

    @property
    def left(self) -> Decimal:
        """Base not executed yet."""
        return self.qty - self.now.executed

    def at(self, seq: int | None) -> OrderState | None:
        """Its state after event `seq`; None if it was not there yet."""
        if seq is None:
            return self.now
        return next((state for state in reversed(self.states) if state.seq <= seq), None)


@dataclass(frozen=True)
class BookTrade:
    """One execution."""

    seq: int
    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    at_ms: int
