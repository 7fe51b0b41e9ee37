"""One symbol's candles in a run of the exact engine: how far they are played, and which one comes next. Pure."""

from decimal import Decimal

from tasks.backtest.candles import NEVER_ABOVE, NEVER_BELOW, CandleColumns
from tasks.backtest.quiet import Quiet, quiet_after
from tasks.backtest.trader import BacktestTrader
from tasks.base.money import from_units
from tasks.funds.models import FundCode, SymbolPerformance
from tasks.ledger.rules import return_72h
from tasks.market.volatility import WANTED, of_closes

_BY_ITS_ALLOCATION = FundCode.SYMBOL_LIMIT.name
NEVER_MS = 2**62  # a time that no candle has


class SymbolRun:
    """`next`: index of the next candle that must be played. `skips`: whether quiet candles are skipped."""

    def __init__(self, trader: BacktestTrader, candles: CandleColumns, *, skips: bool) -> None:
        self.trader, self.candles, self.skips = trader, candles, skips
        self.interval_ms = candles.interval_ms
        self.next = 0
        self.quiet: Quiet | None = None
        trader.volatility = self._volatility

    @property
    def next_ms(self) -> int:
        """Time of the next candle that must be played."""
        return self.opens_ms(self.next)

    def opens_ms(self, index: int) -> int:
        """Time of a candle; NEVER_MS behind the last."""
        return int(self.candles.at[index]) if index < len(self.candles) else NEVER_MS

    def from_ms(self, at_ms: int) -> int:
        """Time of the first candle that opens at or after `at_ms`."""
        return self.opens_ms(int(self.candles.at.searchsorted(at_ms)))

    def _volatility(self, now_ms: int) -> Decimal | None:
        """By the newest candles that have closed, as a live tick reads them."""
        closed = int(self.candles.at.searchsorted(now_ms - self.interval_ms, side="right"))
        closes = self.candles.close[max(closed - WANTED, 0) : closed]
        return of_closes([float(from_units(int(close))) for close in closes], self.interval_ms)

    def wake(self, at_ms: int) -> None:
        """Play the first candle that opens at or after `at_ms`, whatever it holds."""
        self.next = min(self.next, int(self.candles.at.searchsorted(at_ms)))

    def step(self) -> None:
        """Play a candle and tick."""
        at_ms, index = self.next_ms, self.next
        self.trader.play(self.candles.path(index), at_ms)
        self.tick(at_ms + self.interval_ms, index + 1)

    def tick(self, now_ms: int, index: int) -> None:
        """Tick, and find the next candle to play, from `index` on."""
        trader = self.trader
        decision = trader.tick(now_ms)
        self.quiet = None
        if self.skips and trader.all_rest:
            self.quiet = quiet_after(trader.rules, decision, trader.pot.shares[trader.symbol], trader.newly_refused)
        self.next = index if self.quiet is None else self._first_event(index, self.quiet)

    def _first_event(self, index: int, quiet: Quiet) -> int:
        buy, sell = self.trader.exchange.best_buy, self.trader.exchange.best_sell
        found = self.candles.next_event(
            index,
            NEVER_BELOW if buy is None else buy,
            NEVER_ABOVE if sell is None else sell,
            NEVER_ABOVE if quiet.above is None else quiet.above,
            NEVER_BELOW if quiet.below is None else quiet.below,
        )
        if quiet.until_ms is None:
            return found
        return min(found, max(int(self.candles.at.searchsorted(quiet.until_ms - self.interval_ms)), index))

    def follow_price(self, at_ms: int) -> None:
        """Take the last price from the newest candle that opened at or before `at_ms`."""
        index = int(self.candles.at.searchsorted(at_ms, side="right")) - 1
        if index >= 0:
            self.trader.exchange.last = int(self.candles.close[index])

    @property
    def is_refused(self) -> bool:
        """Whether a buy was refused because of the symbol's own allocation."""
        last = self.trader.records.last
        return last is not None and _BY_ITS_ALLOCATION in last.refused.values()

    def performance(self, now_ms: int) -> SymbolPerformance:
        """What decides the symbol's share, as `tasks.tick.sharing.performance` reads it. Follow the price first."""
        grid, price = self.trader.records.grid, self.trader.price
        return SymbolPerformance(
            return_72h=return_72h(self.trader.records.book, now_ms),
            outside=grid is not None and not grid.contains(price),
            refused=self.is_refused,
        )
