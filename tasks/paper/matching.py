"""The fill model in Python: what place.lua, cancel.lua and engine.lua do, without Redis. Pure.

Prices, amounts and money are integers in units of 1e-8. Tests hold it against the scripts, order for order.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from tasks.paper.units import Fees, OrderAmounts


class PlaceCode(IntEnum):
    """Result codes of placing one order; place.lua has the same list."""

    OK = 0
    DUPLICATE = 1
    INSUFFICIENT = 2
    EXPIRED = 3
    EARLY = 4
    WOULD_TAKE = 5


class Terms(NamedTuple):
    """How an order meets the market. `mode`: rest, take or refuse. `price`: that `amounts` are worked out at."""

    mode: str
    price: int
    amounts: OrderAmounts


def terms(side: str, price: int, qty: int, post_only: bool, last: int, fees: Fees) -> Terms:
    """The terms of an order at the market's `last` price. `side`: buy or sell. `price`: 0 for a market order."""
    matches = not price or (price >= last if side == "buy" else price <= last)
    mode = ("refuse" if post_only else "take") if matches else "rest"
    at, share = (last, fees.taker) if matches else (price, fees.maker)
    return Terms(mode, at, fees.amounts(side, at, qty, share))


class Resting(NamedTuple):
    """An order that rests. `number`: of its placing, unique in the account."""

    number: int
    client: str
    side: str
    price: int
    qty: int
    amounts: OrderAmounts


class Execution(NamedTuple):
    """One fill: always of a whole order. `price`: at which it traded."""

    order: Resting
    price: int
    amounts: OrderAmounts
    maker: bool


class Path(NamedTuple):
    """A candle's prices, in units."""

    open: int
    high: int
    low: int
    close: int

    @property
    def low_first(self) -> bool:
        """Whether the price goes to the low first: the nearer extreme comes first."""
        return self.open - self.low <= self.high - self.open

    def touched_after(self, side: str, price: int) -> int:
        """How far along open → nearer extreme → other extreme → close the order's price is first touched."""
        if price >= self.open if side == "buy" else price <= self.open:
            return 0
        if side == "buy":
            down = self.open - price
            return down if self.low_first else down + 2 * (self.high - self.open)
        up = price - self.open
        return up + 2 * (self.open - self.low) if self.low_first else up


@dataclass
class PaperAccount:
    """Free and locked money by currency, of all symbols."""

    free: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    orders: int = 0  # placed so far

    def open(self, currency: str, units: int = 0) -> None:
        """Know a currency."""
        self.free.setdefault(currency, units)
        self.used.setdefault(currency, 0)

    def total(self, currency: str) -> int:
        """Free and locked together."""
        return self.free[currency] + self.used[currency]


class Matching:
    """The resting orders of one symbol, and the last price."""

    def __init__(self, symbol: str, last: int, fees: Fees, account: PaperAccount) -> None:
        self.base, self.quote = symbol.split("/")
        self.last, self._fees, self._account = last, fees, account
        for currency in (self.base, self.quote):
            account.open(currency)
        self.resting: dict[str, Resting] = {}
        self._buys: list[tuple[int, int, str]] = []  # price, number, client
        self._sells: list[tuple[int, int, str]] = []

    @property
    def best_buy(self) -> int | None:
        """Highest price of a resting buy."""
        return self._buys[-1][0] if self._buys else None

    @property
    def best_sell(self) -> int | None:
        """Lowest price of a resting sell."""
        return self._sells[0][0] if self._sells else None

    def place(
        self, client: str, side: str, price: int, qty: int, *, post_only: bool = False
    ) -> tuple[PlaceCode, Execution | None]:
        """Place an order that passes the market's filters: the code, and its fill where it matched at once."""
        if client in self.resting:
            return PlaceCode.DUPLICATE, None
        mode, at, amounts = terms(side, price, qty, post_only, self.last, self._fees)
        if mode == "refuse":
            return PlaceCode.WOULD_TAKE, None
        paid, got = (self.quote, self.base) if side == "buy" else (self.base, self.quote)
        account = self._account
        if account.free[paid] < amounts.lock:
            return PlaceCode.INSUFFICIENT, None
        account.free[paid] -= amounts.lock
        account.orders += 1
        order = Resting(account.orders, client, side, price, qty, amounts)
        if mode == "take":
            account.free[got] += amounts.credit
            return PlaceCode.OK, Execution(order, at, amounts, maker=False)
        account.used[paid] += amounts.lock
        self.resting[client] = order
        insort(self._buys if side == "buy" else self._sells, (price, order.number, client))
        return PlaceCode.OK, None

    def cancel(self, client: str) -> Resting | None:
        """Free the money of a resting order; None where it does not rest."""
        order = self.resting.pop(client, None)
        if order is None:
            return None
        index = self._buys if order.side == "buy" else self._sells
        del index[bisect_left(index, (order.price, order.number, client))]
        paid = self.quote if order.side == "buy" else self.base
        self._account.used[paid] -= order.amounts.lock
        self._account.free[paid] += order.amounts.lock
        return order

    def play(self, path: Path) -> list[Execution]:
        """Fill what a candle reaches, in the order in which its path touches the prices."""
        self.last = path.close
        first = bisect_left(self._buys, (path.low,))
        end = bisect_left(self._sells, (path.high + 1,))
        hits = self._buys[first:] + self._sells[:end]
        del self._buys[first:], self._sells[:end]
        orders = [self.resting.pop(client) for _, _, client in hits]
        if len(orders) > 1:
            orders.sort(key=lambda order: (path.touched_after(order.side, order.price), order.number))
        for order in orders:
            paid, got = (self.quote, self.base) if order.side == "buy" else (self.base, self.quote)
            self._account.used[paid] -= order.amounts.lock
            self._account.free[got] += order.amounts.credit
        return [Execution(order, order.price, order.amounts, maker=True) for order in orders]
