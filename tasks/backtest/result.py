"""What a backtest came to: totals, each symbol's books, every fill. Pure; amounts in quote unless named base."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tasks.backtest.engine import Played
from tasks.base.money import ZERO, from_units, plain
from tasks.exchange.models import Side
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import earned_of, total, value


@dataclass(frozen=True)
class BacktestFill:
    """One fill of a backtest. `at_ms`: opening time of its candle; of an order that filled at once, the tick's time."""

    at_ms: int
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_currency: str
    cell: int
    maker: bool
    profit: Decimal

    @classmethod
    def of(cls, fill: Fill) -> "BacktestFill":
        """From the ledger's record."""
        cell = int(fill.cell_key.rpartition(".")[2])
        facts = (fill.at_ms, fill.symbol, fill.side, fill.price, fill.qty, fill.fee, fill.fee_currency)
        return cls(*facts, cell, fill.maker, fill.profit)


@dataclass(frozen=True)
class SymbolResult:
    """One symbol at the end. `cash`: change of its quote; `base`: inventory; `price`: the last close.

    `earned`: the part of `base` that cost nothing, because the grid earns in base.
    """

    symbol: str
    buys: int
    sells: int
    cash: Decimal
    base: Decimal
    price: Decimal
    grid_profit: Decimal
    floating_pnl: Decimal
    fees: Decimal
    identity_error: Decimal
    earned: Decimal = ZERO

    @classmethod
    def of(cls, book: Book, price: Decimal, earned: Decimal = ZERO) -> "SymbolResult":
        """The book at a price."""
        worth = value(book, price)
        return cls(
            symbol=book.symbol,
            buys=book.buys,
            sells=book.sells,
            cash=book.cash,
            base=book.base,
            price=price,
            grid_profit=book.grid_profit,
            floating_pnl=worth.floating,
            fees=book.fees,
            identity_error=worth.identity_error,
            earned=earned,
        )

    def record(self) -> dict[str, Any]:
        """As JSON values; amounts as exact text."""
        return {name: plain(one) if isinstance(one, Decimal) else one for name, one in vars(self).items()}


@dataclass(frozen=True)
class Result:
    """The whole backtest. `account_difference`: quote on the paper account less quote in the books.

    `most_committed`: of the pool at one time; None where the engine does not know.
    """

    engine: str
    start_ms: int
    end_ms: int
    funds: Decimal
    symbols: Mapping[str, SymbolResult]
    fills: tuple[BacktestFill, ...]
    blocked: Mapping[str, int]
    rebalances: int
    most_committed: Decimal | None
    account_difference: Decimal

    def _sum(self, name: str) -> Decimal:
        return total(getattr(one, name) for one in self.symbols.values())

    @property
    def buys(self) -> int:
        """Fills of buys."""
        return sum(one.buys for one in self.symbols.values())

    @property
    def sells(self) -> int:
        """Fills of sells."""
        return sum(one.sells for one in self.symbols.values())

    @property
    def quote(self) -> Decimal:
        """Quote at the end."""
        return total((self.funds, self._sum("cash")))

    @property
    def grid_profit(self) -> Decimal:
        """Profit of what was sold, after all fees."""
        return self._sum("grid_profit")

    @property
    def floating_pnl(self) -> Decimal:
        """Worth of the inventory at the last close, less what it cost."""
        return self._sum("floating_pnl")

    @property
    def fees(self) -> Decimal:
        """All fees."""
        return self._sum("fees")

    @property
    def identity_error(self) -> Decimal:
        """Change of equity less grid profit less floating PnL: 0."""
        return self._sum("identity_error")

    @property
    def equity(self) -> Decimal:
        """Quote and inventory at the last close."""
        return total((self.quote, *(one.base * one.price for one in self.symbols.values())))


def result_of(played: Played) -> Result:
    """The result of a run of the exact engine."""
    symbols: dict[str, SymbolResult] = {}
    for name, run in played.runs.items():
        records = run.trader.records
        symbols[name] = SymbolResult.of(records.book, run.trader.price, earned_of(records.cells.values()))
    account = from_units(played.account.total(played.settings.quote))
    result = Result(
        engine="exact",
        start_ms=played.start_ms,
        end_ms=played.end_ms,
        funds=played.settings.total_funds,
        symbols=symbols,
        fills=in_order(fill for run in played.runs.values() for fill in run.trader.fills),
        blocked=dict(played.pot.blocked),
        rebalances=played.sharing.rebalances,
        most_committed=from_units(played.pot.most_committed),
        account_difference=ZERO,
    )
    return Result(**{**vars(result), "account_difference": account - result.quote})


def in_order(fills: Iterable[Fill]) -> tuple[BacktestFill, ...]:
    """Fills by time; within a candle in the order in which the exchange placed their orders."""
    ordered = sorted(fills, key=lambda fill: (fill.at_ms, int(fill.trade_id)))
    return tuple(BacktestFill.of(fill) for fill in ordered)
