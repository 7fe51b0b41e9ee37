"""Results of a time span, by day and by symbol. Money in quote."""

from decimal import Decimal

from tasks.base.money import ZERO
from tasks.views.view import View


class ResultsView(View):
    """Results of a time span, in quote; see `tasks.ledger.statistics` for the formulas. None: not defined."""

    name: str
    from_ms: int
    to_ms: int
    trades: int = 0
    buys: int = 0
    sells: int = 0
    rounds: int = 0
    win_rate: Decimal | None = None
    profit_factor: Decimal | None = None
    average_held_ms: int | None = None
    volume: Decimal = ZERO
    fees: Decimal = ZERO
    grid_profit: Decimal = ZERO
    total_pnl: Decimal | None = None
    floating: Decimal | None = None
    grid_apr: Decimal | None = None
    total_apr: Decimal | None = None
    buy_and_hold: Decimal | None = None
    sharpe: Decimal | None = None
    sortino: Decimal | None = None
    max_drawdown: Decimal = ZERO  # share of the equity at the peak
    max_drawdown_quote: Decimal = ZERO
    drawdown_from_ms: int | None = None
    drawdown_to_ms: int | None = None


class DayView(View):
    """What one UTC day brought, in quote. `profit`: of the sells, after fees."""

    day: str  # 2026-01-31
    trades: int
    volume: Decimal
    profit: Decimal
    cumulative: Decimal = ZERO  # profit from the first day of the span on


class SymbolResults(View):
    """What one symbol brought in a span of whole UTC days, in quote. `profit`: of the sells, after fees."""

    symbol: str
    trades: int
    rounds: int
    win_rate: Decimal | None
    volume: Decimal
    fees: Decimal
    profit: Decimal
