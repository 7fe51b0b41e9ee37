"""The records of the exchange port. An order to place (`OrderRequest`) is another type than an order (`Order`)."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.base.errors import RejectReason
from tasks.base.money import ceil_to, floor_to, round_to

Positive = Annotated[Decimal, Field(gt=0)]
NotNegative = Annotated[Decimal, Field(ge=0)]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Side(StrEnum):
    """Order side, in ccxt's words."""

    BUY = "buy"
    SELL = "sell"


class OrderStatus(StrEnum):
    """State of an order at the exchange."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class PriceBand(Frozen):
    """How far from the market's price an order of one side may be: shares of that price."""

    least: NotNegative = Decimal(0)
    most: Positive | None = None

    @property
    def is_open(self) -> bool:
        """Whether the exchange takes any price."""
        return not self.least and self.most is None

    def holds(self, price: Decimal, reference: Decimal) -> bool:
        """Whether the exchange takes `price` while the market is at `reference`."""
        least, most = self.least, self.most
        return (not least or price >= reference * least) and (most is None or price <= reference * most)


class Market(Frozen):
    """Filters and fees of one symbol. Amounts in base, prices and notional in quote, fees as a share."""

    symbol: str
    base: str
    quote: str
    tick_size: Positive
    lot_step: Positive
    min_qty: NotNegative = Decimal(0)
    max_qty: Positive | None = None
    min_notional: NotNegative = Decimal(0)
    max_notional: Positive | None = None
    max_orders: int | None = None  # that may be open in the symbol, of the whole account
    buy_band: PriceBand = PriceBand()
    sell_band: PriceBand = PriceBand()
    maker_fee: Decimal
    taker_fee: Decimal

    def price(self, value: Decimal) -> Decimal:
        """Nearest valid price."""
        return round_to(value, self.tick_size)

    def price_up(self, value: Decimal) -> Decimal:
        """Next valid price not below `value`."""
        return ceil_to(value, self.tick_size)

    def price_down(self, value: Decimal) -> Decimal:
        """Next valid price not above `value`."""
        return floor_to(value, self.tick_size)

    def qty(self, value: Decimal) -> Decimal:
        """Largest valid amount not above `value`."""
        return floor_to(value, self.lot_step)

    def large_enough(self, price: Decimal, qty: Decimal) -> bool:
        """Whether an order of this size passes the exchange's minimum."""
        return qty > 0 and qty >= self.min_qty and price * qty >= self.min_notional

    def small_enough(self, price: Decimal, qty: Decimal) -> bool:
        """Whether an order of this size passes the exchange's maximum."""
        most, worth = self.max_qty, self.max_notional
        return (most is None or qty <= most) and (worth is None or price * qty <= worth)

    def near_enough(self, side: Side, price: Decimal, reference: Decimal) -> bool:
        """Whether the exchange takes an order at `price` while the market is at `reference`."""
        return (self.buy_band if side is Side.BUY else self.sell_band).holds(price, reference)


class Ticker(Frozen):
    """Best bid, best ask and last price (quote), with the exchange's time in ms."""

    symbol: str
    bid: Positive
    ask: Positive
    last: Positive
    at_ms: int


class Grant(Frozen):
    """Proof that one order was funded and journalled. Only `tasks.funds.store.reserve` makes one."""

    client_id: str
    units: int
    fence: int


class OrderRequest(Frozen):
    """A limit order to place. `signed_at_ms` is the intent's time; the exchange refuses it `valid_ms` later.

    It needs the grant of its own id: an order that was not funded and journalled cannot be sent.
    """

    grant: Grant
    client_id: str
    symbol: str
    side: Side
    price: Positive
    qty: Positive
    post_only: bool = False
    signed_at_ms: int
    valid_ms: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _is_granted(self) -> "OrderRequest":
        if self.grant.client_id != self.client_id:
            raise ValueError(f"order {self.client_id} carries the grant of {self.grant.client_id}")
        return self


class Order(Frozen):
    """An order at the exchange; `qty` and `filled` in base."""

    exchange_id: str
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Positive
    filled: NotNegative
    status: OrderStatus
    at_ms: int


class Trade(Frozen):
    """One execution. `fee` in `fee_currency`, never negative for a cost."""

    trade_id: str
    exchange_id: str
    client_id: str | None = None
    symbol: str
    side: Side
    price: Positive
    qty: Positive
    fee: Decimal
    fee_currency: str
    maker: bool
    at_ms: int


class Balance(Frozen):
    """One currency of the account."""

    free: Decimal
    locked: Decimal


class Candle(Frozen):
    """One bar; `at_ms` is its opening time, volume in base."""

    at_ms: int
    open: Positive
    high: Positive
    low: Positive
    close: Positive
    volume: NotNegative


class Accepted(Frozen):
    """The exchange confirmed the order."""

    order: Order


class Rejected(Frozen):
    """The exchange refused the order: nothing was placed."""

    client_id: str
    reason: RejectReason
    detail: str


class Unknown(Frozen):
    """No clear result: the order may or may not exist."""

    client_id: str
    detail: str


Placement = Accepted | Rejected | Unknown
