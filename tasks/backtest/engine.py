"""The exact engine: every decision by `decide`, over the candles of all symbols of one pot. Pure.

In each candle: fills, then one tick for each symbol in the order of the settings, then the triggers of a rebalance,
then the hourly one. A candle is skipped only while no rule can act in it (`tasks.backtest.quiet`). A symbol's first
price is the open of its first candle; the candles of all symbols are cut to the time that they share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tasks.backtest.candles import CandleColumns
from tasks.backtest.pot import Pot
from tasks.backtest.sharing import Sharing
from tasks.backtest.symbol_run import NEVER_MS, SymbolRun
from tasks.backtest.trader import BacktestTrader
from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import Keys
from tasks.base.money import units_down
from tasks.exchange.models import Market
from tasks.funds.models import SymbolPerformance
from tasks.ledger.models import HOUR_MS
from tasks.ledger.rules import realised_of
from tasks.paper.matching import PaperAccount
from tasks.paper.units import Fees, to_units
from tasks.settings.model import Settings
from tasks.tick.decision import Rules


@dataclass(frozen=True)
class Played:
    """A finished run: each symbol with its books and fills, the account, the pot. Times in ms."""

    settings: Settings
    runs: Mapping[str, SymbolRun]
    account: PaperAccount
    pot: Pot
    sharing: Sharing
    start_ms: int
    end_ms: int


def _unwatched(_at_ms: int) -> None:
    """Nobody wants to know."""


class Engine:
    """Plays candles with one account's settings."""

    def __init__(
        self,
        settings: Settings,
        markets: Mapping[str, Market],
        candles: Mapping[str, CandleColumns],
        *,
        skips: bool = True,
    ) -> None:
        self.settings, self._skips = settings, skips
        own = shared_time({symbol: candles[symbol] for symbol in settings.symbols})
        self._pot, self._account = Pot(), PaperAccount()
        self._account.open(settings.quote, to_units(settings.total_funds))
        self._sharing = Sharing(settings, self._pot)
        in_base = settings.paper.fee_currency == "base"
        self._runs = [
            SymbolRun(self._trader(markets[symbol], columns, in_base), columns, skips=skips)
            for symbol, columns in own.items()
        ]
        self._interval_ms = self._runs[0].interval_ms
        self._hour_ms = 0  # when the next hourly rebalance is due
        self._may_fire = True  # whether a trigger may fire: something happened since the last look, or it was too soon

    def _trader(self, market: Market, columns: CandleColumns, in_base: bool) -> BacktestTrader:
        rules = Rules(market, self.settings, Keys(self.settings.account), self._sharing.even_share)
        fees = Fees(market.maker_fee, market.taker_fee, in_base)
        return BacktestTrader(rules, self._pot, self._account, fees, int(columns.open[0]))

    def play(self, watch: Callable[[int], None] = _unwatched) -> Played:
        """All candles; `watch` gets the time of each that is played. Raises ConfigError where a grid cannot start."""
        runs = self._runs
        start_ms = min(run.next_ms for run in runs)
        self._hour_ms = (start_ms // HOUR_MS + 1) * HOUR_MS
        self._sharing.open(start_ms)
        for run in runs:
            run.tick(start_ms, 0)
        while (at_ms := self._next_ms()) != NEVER_MS:
            self._candle(at_ms)
            watch(at_ms)
        end_ms = max(int(run.candles.at[-1]) for run in runs) + self._interval_ms
        for run in runs:
            run.follow_price(end_ms)
            run.trader.book(end_ms)
        by_symbol = {run.trader.symbol: run for run in runs}
        return Played(self.settings, by_symbol, self._account, self._pot, self._sharing, start_ms, end_ms)

    def _next_ms(self) -> int:
        """Time of the next candle with something to do."""
        next_ms = min(run.next_ms for run in self._runs)
        due_ms = NEVER_MS if self._skips and self._sharing.is_settled else self._hour_ms
        if self._may_fire:
            due_ms = min(due_ms, self._sharing.locked_until_ms)
        if due_ms == NEVER_MS:
            return next_ms
        return min(next_ms, *(run.from_ms(due_ms - self._interval_ms) for run in self._runs))

    def _candle(self, at_ms: int) -> None:
        """Play the candles that open at `at_ms`, then look at the pot."""
        ticked = False
        for place, run in enumerate(self._runs):
            if run.next_ms != at_ms:
                continue
            ticked, committed = True, self._pot.committed
            run.step()
            if self._pot.committed != committed:
                self._wake_others(place, at_ms)
        self._share(at_ms, ticked)

    def _wake_others(self, place: int, at_ms: int) -> None:
        """Tick the symbols whose plan the pot's free money may change: those behind `place` in this candle yet."""
        for number, run in enumerate(self._runs):
            if number != place and run.quiet is not None and run.quiet.follows_pool:
                run.wake(at_ms if number > place else at_ms + 1)

    def _share(self, at_ms: int, ticked: bool) -> None:
        """Rebalance where a trigger fires or the hour is over; all symbols follow in the next candle."""
        now_ms, sharing, changed = at_ms + self._interval_ms, self._sharing, False
        may_concern = len(self._runs) > 1 or any(run.is_refused for run in self._runs)
        self._may_fire = may_concern and (ticked or self._may_fire)
        if self._may_fire:
            fired = sharing.on_trigger(self._performances(at_ms), now_ms)
            self._may_fire = fired is None
            changed = bool(fired)
        if now_ms >= self._hour_ms:
            self._hour_ms = (now_ms // HOUR_MS + 1) * HOUR_MS
            if not (self._skips and sharing.is_settled):
                facts = self._performances(at_ms)
                realised = realised_of(run.trader.records.book for run in self._runs)
                changed |= sharing.on_the_hour(facts, now_ms, units_down(realised))
        if changed:
            self._may_fire = may_concern
            for run in self._runs:
                run.wake(at_ms + 1)

    def _performances(self, at_ms: int) -> dict[str, SymbolPerformance]:
        for run in self._runs:
            run.follow_price(at_ms)
        return {run.trader.symbol: run.performance(at_ms + self._interval_ms) for run in self._runs}


def shared_time(candles: Mapping[str, CandleColumns]) -> dict[str, CandleColumns]:
    """The candles from the latest first to the earliest last one. Raises ConfigError where there is no such time."""
    empty = [symbol for symbol, columns in candles.items() if not len(columns)]
    lengths = {symbol: columns.interval_ms for symbol, columns in candles.items() if len(columns)}
    for before, after in pairwise(lengths):
        if lengths[before] != lengths[after]:
            rule = f"its candles last {lengths[after]} ms, those of {before} {lengths[before]} ms"
            raise _problem(after, rule, "Give candles of one length for all symbols")
    if empty:
        raise _problem(empty[0], "there is no candle", "Give a file with candles")
    start = max(int(columns.at[0]) for columns in candles.values())
    end = min(int(columns.at[-1]) for columns in candles.values()) + 1
    cut = {symbol: columns.between(start, end) for symbol, columns in candles.items()}
    for symbol, columns in cut.items():
        if not len(columns):
            raise _problem(
                symbol, "its candles share no time with those of the others", "Give candles of the same time"
            )
    return cut


def _problem(symbol: str, rule: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(f'candles of "{symbol}"', "", rule, remedy)], "the candles")
