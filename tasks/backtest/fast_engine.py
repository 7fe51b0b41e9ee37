"""The fast engine's results in the exact engine's form. Pure."""

from collections.abc import Mapping
from decimal import Decimal

from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import shared_time
from tasks.backtest.fast import FastFill, FastOutcome, FastRun
from tasks.backtest.fast_limits import fast_grids
from tasks.backtest.fast_reach import ReachRun
from tasks.backtest.result import BacktestFill, Result, SymbolResult
from tasks.base.money import ZERO, exact, from_units
from tasks.exchange.models import Market, Side
from tasks.paper.matching import Path
from tasks.paper.units import Fees
from tasks.settings.model import Settings


def play_fast(
    settings: Settings, markets: Mapping[str, Market], candles: Mapping[str, CandleColumns]
) -> dict[str, FastOutcome]:
    """Each symbol's outcome. Raises ConfigError for all that the fast engine cannot play exactly, by name."""
    own = shared_time({symbol: candles[symbol] for symbol in settings.symbols})
    grids = fast_grids(settings, markets, own)
    return {
        symbol: (ReachRun if grid.reach else FastRun)(
            grid, own[symbol], Fees(markets[symbol].maker_fee, markets[symbol].taker_fee)
        ).play()
        for symbol, grid in grids.items()
    }


def fast_result(settings: Settings, markets: Mapping[str, Market], candles: Mapping[str, CandleColumns]) -> Result:
    """Play, and put the outcomes into a result. Fills of one candle are in the order of its path."""
    outcomes = play_fast(settings, markets, candles)
    own = shared_time({symbol: candles[symbol] for symbol in settings.symbols})
    fills = [
        (time_of(fill, own[symbol]), _order(fill, own[symbol]), symbol, fill)
        for symbol, outcome in outcomes.items()
        for fill in outcome.fills
    ]
    fills.sort(key=lambda one: one[:3])
    interval_ms = next(iter(own.values())).interval_ms
    return Result(
        engine="fast",
        start_ms=min(int(columns.at[0]) for columns in own.values()),
        end_ms=max(int(columns.at[-1]) for columns in own.values()) + interval_ms,
        funds=settings.total_funds,
        symbols={
            symbol: symbol_result(symbol, outcome, int(own[symbol].close[-1])) for symbol, outcome in outcomes.items()
        },
        fills=tuple(_fill(fill, at_ms, markets[symbol]) for at_ms, _, symbol, fill in fills),
        blocked={},
        rebalances=1,
        most_committed=None,
        account_difference=ZERO,
    )


def time_of(fill: FastFill, candles: CandleColumns) -> int:
    """When a fill happened: its candle's opening, or the tick after the candle."""
    if fill.candle < 0:
        return int(candles.at[0])
    return int(candles.at[fill.candle]) + (0 if fill.maker else candles.interval_ms)


def _order(fill: FastFill, candles: CandleColumns) -> int:
    """The place of a fill along its candle's path."""
    if not fill.maker:
        return -1  # placed at a tick: before the candle that opens then
    index = fill.candle
    path = Path(*(int(getattr(candles, name)[index]) for name in ("open", "high", "low", "close")))
    return path.touched_after("buy" if fill.is_buy else "sell", fill.price)


def symbol_result(symbol: str, outcome: FastOutcome, last: int) -> SymbolResult:
    """One symbol's outcome at its last price (units)."""
    with exact():
        worth = Decimal(outcome.base * last).scaleb(-16)
        cash, profit = Decimal(outcome.cash).scaleb(-16), Decimal(outcome.profit).scaleb(-16)
        floating = worth - Decimal(outcome.basis).scaleb(-16)
        return SymbolResult(
            symbol=symbol,
            buys=outcome.buys,
            sells=outcome.sells,
            cash=cash,
            base=from_units(outcome.base),
            price=from_units(last),
            grid_profit=profit,
            floating_pnl=floating,
            fees=from_units(outcome.fees),
            identity_error=cash + worth - profit - floating,
        )


def _fill(fill: FastFill, at_ms: int, market: Market) -> BacktestFill:
    return BacktestFill(
        at_ms=at_ms,
        symbol=market.symbol,
        side=Side.BUY if fill.is_buy else Side.SELL,
        price=from_units(fill.price),
        qty=from_units(fill.qty),
        fee=from_units(fill.fee),
        fee_currency=market.quote,
        cell=fill.cell,
        maker=fill.maker,
        profit=Decimal(fill.profit).scaleb(-16),
    )
