"""What a recorded month is played with: the pot as the scripts keep it, and a trader with its exchange. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Trade
from tasks.funds.models import FundCode, FundsStatus, TraderAllocation
from tasks.grid.models import Cell, Grid
from tasks.ledger.models import Book
from tasks.orders.models import Evidence, Intent
from tasks.settings.grids import OneGrid
from tasks.tick.fold import Folded, fold

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
PROTECTION_MS = 15_000


@dataclass
class Pot:
    """The money as the scripts keep it, in units."""

    pool: int
    allocated: dict[str, int]
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 0))
    reserved: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 0))
    spread_fired: bool = False

    @property
    def committed(self) -> int:
        """Of all symbols."""
        return sum(self.used.values()) + sum(self.reserved.values())

    def judge(self, symbol: str, units: int) -> FundCode:
        """What reserve.lua says of a buy."""
        if units and self.used[symbol] + self.reserved[symbol] + units > self.allocated[symbol]:
            return FundCode.SYMBOL_LIMIT
        return FundCode.GLOBAL_LIMIT if units and self.committed + units > self.pool else FundCode.OK

    def share(self, symbol: str) -> TraderAllocation:
        """One symbol's line."""
        return TraderAllocation(
            symbol=symbol,
            registered=True,
            allocated_units=self.allocated[symbol],
            used_units=self.used[symbol],
            reserved_units=self.reserved[symbol],
            paused=False,
            cap_units=self.pool,
        )

    def status(self) -> FundsStatus:
        """The whole pot."""
        return FundsStatus(
            pool_units=self.pool,
            used_units=sum(self.used.values()),
            reserved_units=sum(self.reserved.values()),
            version=1,
            paused=False,
            stopped=False,
            short_units=0,
            max_committed_units=0,
            spread_fired=self.spread_fired,
            symbols={symbol: self.share(symbol) for symbol in SYMBOLS},
        )


@dataclass
class Trader:
    """One symbol's grid, orders and books.

    `evidence`: what became of orders since the last tick. `closing`: the grid is given up, all it holds is sold.
    """

    market: Market
    settings: OneGrid
    book: Book
    price: Decimal
    grid: Grid | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    closing: bool = False

    @property
    def outside(self) -> bool:
        """Whether the price has left the grid."""
        return self.grid is not None and not self.grid.levels[0] <= self.price <= self.grid.levels[-1]

    def resting(self) -> Iterator[Intent]:
        """Orders that rest on the exchange."""
        return (intent for client_id, intent in self.intents.items() if client_id not in self.evidence)

    def fill(self, intent: Intent, price: Decimal, at_ms: int) -> None:
        """The exchange trades the whole order."""
        trade = Trade(
            trade_id=intent.client_id,
            exchange_id=intent.client_id,
            client_id=intent.client_id,
            symbol=intent.symbol,
            side=intent.side,
            price=price,
            qty=intent.qty,
            fee=price * intent.qty * self.market.maker_fee,
            fee_currency=self.market.quote,
            maker=price == intent.price,
            at_ms=at_ms,
        )
        self.evidence[intent.client_id] = Evidence(trades=(trade,))

    def cancel(self, client_id: str, at_ms: int) -> None:
        """The exchange cancels the order."""
        intent = self.intents[client_id]
        order = Order(
            exchange_id=client_id,
            client_id=client_id,
            symbol=intent.symbol,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            filled=ZERO,
            status=OrderStatus.CANCELLED,
            at_ms=at_ms,
        )
        self.evidence[client_id] = Evidence(looked_up=True, found=order)

    def folded(self, now_ms: int, allocated: Decimal) -> Folded:
        """Cells, journal and book after what the exchange did."""
        moved = {client_id: self.intents[client_id] for client_id in self.evidence}
        result = fold(self.book, self.cells, moved, self.evidence, self.market, now_ms, PROTECTION_MS, {}, allocated)
        result.intents = {name: one for name, one in self.intents.items() if name not in moved} | result.intents
        self.evidence = {}
        return result
