"""A recorded month played by the program's own rules, without Redis and without an exchange. Pure and deterministic.

Three symbols share one pot: geometric grids of 20 cells over ±4 %, set anew around the price at midnight where the
price has left them. What an old grid holds is sold at the market first, or kept and sold at its own levels. In a candle
every resting buy at or above its low and every resting sell at or below its high fills once, whole, at its own price;
what is marketable fills at once at the last price, and the next tick books it. After each candle comes one tick per
symbol, then a look at the triggers, and after each hour a scheduled rebalance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO, from_units, units_down
from tasks.exchange.models import Candle, Side, Ticker
from tasks.exchange.order_ids import grid_digest
from tasks.funds import rules
from tasks.funds.models import FundCode, ShareRequest, SymbolPerformance
from tasks.grid.cells import with_order
from tasks.grid.levels import build_cells, levels
from tasks.grid.models import CellState, Grid
from tasks.grid.plan_models import GridPlan, PlannedOrder
from tasks.grid.planner import plan
from tasks.ledger.models import HOUR_MS, Book
from tasks.ledger.rules import return_72h
from tasks.market.models import Snapshot
from tasks.orders.models import IntentState
from tasks.settings.grids import OneGrid
from tasks.settings.model import AllocationStrategy, Settings
from tasks.tick.fold import Folded
from tasks.tick.grid_change import change_grid, is_empty, move_dust
from tasks.tick.limits import limits_of, resting_buys, still_refused
from tasks.tick.models import SymbolState
from tasks.tick.order_requests import intent_of
from tests.support.month_state import SYMBOLS, Pot, Trader
from tests.support.recorded import CANDLE_MS, paper_market, recorded_month

GRID = {"grid": "geometric", "range_pct": "0.04", "cells": 20, "start": "balanced"}
DAY_MS = 24 * HOUR_MS
STEP_GAP_MS = 59 * 60_000
TRIGGER_GAP_MS = 10 * 60_000
KEYS = Keys("main")


@dataclass
class Month:
    """What the month showed. Times in ms; `shares`: of the pool, by symbol, one each hour."""

    start_ms: int
    days: int
    writes: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    shares: dict[str, list[float]] = field(default_factory=lambda: {symbol: [] for symbol in SYMBOLS})
    most_committed: float = 0  # share of the pool
    placed: int = 0
    replaced: int = 0
    grid_profit: Decimal = ZERO

    def halves(self, times: Sequence[int]) -> tuple[int, int]:
        """How many fall into the first half of the month and how many into the second."""
        first = sum(at < self.start_ms + self.days * DAY_MS // 2 for at in times)
        return first, len(times) - first


class Simulation:
    """The month under one strategy, with 10,000 quote and the settings' defaults.

    `sells`: at midnight a grid that the price has left sells all it holds at the market. `days`: stop after so many.
    """

    def __init__(self, strategy: AllocationStrategy, *, sells: bool = True, days: int = 31) -> None:
        self.sells = sells
        self.settings = Settings.model_validate(
            {"allocation_strategy": strategy, "symbols": dict.fromkeys(SYMBOLS, GRID)}
        )
        self.candles = {symbol: recorded_month(symbol)[: days * DAY_MS // CANDLE_MS] for symbol in SYMBOLS}
        fee = self.settings.exchange.maker_fee
        single = {symbol: own for symbol, own in self.settings.symbols.items() if isinstance(own, OneGrid)}
        self.traders = {
            symbol: Trader(paper_market(symbol, fee), own, Book(symbol=symbol), self.candles[symbol][0].open)
            for symbol, own in single.items()
        }
        pool = units_down(self.settings.total_funds * self.settings.global_max_usage)
        self.pot = Pot(pool, dict.fromkeys(SYMBOLS, pool // len(SYMBOLS)))
        self.stepped_ms = self.locked_until_ms = 0

    def play(self) -> Month:
        """All candles."""
        first = self.candles[SYMBOLS[0]]
        self.month = Month(first[0].at_ms, len(first) * CANDLE_MS // DAY_MS)
        for symbol in SYMBOLS:
            self._tick(symbol, first[0].at_ms)
        for number, candle in enumerate(first):
            for symbol in SYMBOLS:
                self._candle(symbol, self.candles[symbol][number])
            self._look(candle.at_ms + CANDLE_MS)
        self.month.grid_profit = sum((trader.book.grid_profit for trader in self.traders.values()), ZERO)
        return self.month

    def _candle(self, symbol: str, candle: Candle) -> None:
        trader, after_ms = self.traders[symbol], candle.at_ms + CANDLE_MS
        for intent in list(trader.resting()):
            reached = candle.low <= intent.price if intent.side is Side.BUY else candle.high >= intent.price
            if reached:
                trader.fill(intent, intent.price, after_ms)
        trader.price = candle.close
        self._tick(symbol, after_ms)
        self.month.most_committed = max(self.month.most_committed, self.pot.committed / self.pot.pool)

    # --- one tick --------------------------------------------------------------------------------------
    def _tick(self, symbol: str, now_ms: int) -> None:
        """As `GridTrader.tick`: fold, grid, plan, cancel, reserve, place."""
        trader, pot = self.traders[symbol], self.pot
        ticker = Ticker(symbol=symbol, bid=trader.price, ask=trader.price, last=trader.price, at_ms=now_ms)
        snapshot, state = Snapshot(market=trader.market, ticker=ticker), self._state(symbol)
        folded = trader.folded(now_ms, from_units(pot.allocated[symbol]))
        self._book(symbol, folded)
        grid = self._grid(trader, folded, now_ms)
        limits = limits_of(self.settings, state, folded, snapshot, grid, now_ms)
        limits = replace(limits, refused=trader.refused, retiring=trader.closing, liquidate=trader.closing)
        planned = plan(snapshot, grid, list(folded.cells.values()), limits, resting_buys(folded))
        trader.book, trader.cells, trader.intents = folded.book, folded.cells, folded.intents
        self._apply(symbol, planned, now_ms)
        trader.cells = {
            key: cell for key, cell in trader.cells.items() if cell.grid_id == grid.grid_id or not is_empty(cell)
        }

    def _state(self, symbol: str) -> SymbolState:
        pot = self.pot
        return SymbolState(
            fence=1,
            grid=None,
            book=Book(symbol=symbol),
            last=None,
            cells={},
            intents={},
            share=pot.share(symbol),
            pool_free_units=pot.pool - pot.committed,
            limits_version=1,
            settings_version=1,
            paused=False,
            stopped=False,
            short=False,
        )

    def _book(self, symbol: str, folded: Folded) -> None:
        for move in folded.moves:
            self.pot.used[symbol] += move.used_delta
            self.pot.reserved[symbol] -= move.take_units
        self.pot.reserved[symbol] -= sum(intent.units_left for intent in folded.ended)

    def _grid(self, trader: Trader, folded: Folded, now_ms: int) -> Grid:
        symbol = trader.market.symbol
        due = trader.outside and now_ms % DAY_MS == 0
        trader.closing = trader.closing or (due and self.sells)
        sold = not folded.intents and all(cell.state is CellState.IDLE for cell in folded.cells.values())
        if trader.grid is None or (sold if trader.closing else due):
            trader.closing = False
            trader.grid = Grid(
                grid_id=grid_digest(f"{symbol} {now_ms}"),
                symbol=symbol,
                levels=levels(trader.settings, trader.price, trader.market),
                first_price=trader.price,
                created_ms=now_ms,
            )
            change_grid(folded, trader.grid, build_cells(trader.grid, trader.settings.start), KEYS)
        moved = move_dust(folded, trader.grid, trader.price, trader.market, KEYS, now_ms)
        self.pot.used[symbol] += sum(move.used_delta for move in moved.moves) if moved else 0
        return trader.grid

    def _apply(self, symbol: str, planned: GridPlan, now_ms: int) -> None:
        trader = self.traders[symbol]
        for client_id in planned.cancel:
            trader.cancel(client_id, now_ms)
        self.month.replaced += len(planned.resized)
        trader.refused = still_refused(planned)
        for order in planned.place:
            code = self.pot.judge(symbol, order.units)
            if code is FundCode.OK:
                self._place(trader, order, now_ms)
            else:
                trader.refused[order.cell_key] = code.name
                self.month.refusals.append(now_ms)

    def _place(self, trader: Trader, order: PlannedOrder, now_ms: int) -> None:
        symbol = trader.market.symbol
        intent = intent_of(order, symbol, now_ms).model_copy(update={"state": IntentState.OPEN})
        self.month.placed += 1
        self.pot.reserved[symbol] += order.units
        trader.intents[intent.client_id] = intent
        trader.cells[order.cell_key] = with_order(trader.cells[order.cell_key], order)
        takes = order.price >= trader.price if order.side is Side.BUY else order.price <= trader.price
        if takes:
            trader.fill(intent, trader.price, now_ms)

    # --- sharing the pool ------------------------------------------------------------------------------
    def _look(self, now_ms: int) -> None:
        """As `GlobalFundAllocator.rebalance_if_needed`: hourly, and when a trigger fires."""
        pot, scheduled = self.pot, now_ms % HOUR_MS == 0
        facts = {symbol: self._performance(symbol, now_ms) for symbol in SYMBOLS}
        if scheduled or self._fired(facts, now_ms):
            wanted = self._wanted(facts, now_ms, scheduled)
            if wanted != pot.allocated:
                self.stepped_ms, pot.allocated = now_ms, wanted
                self.month.writes.append(now_ms)
        if scheduled:
            for symbol in SYMBOLS:
                self.month.shares[symbol].append(pot.allocated[symbol] / pot.pool)

    def _performance(self, symbol: str, now_ms: int) -> SymbolPerformance:
        trader = self.traders[symbol]
        return SymbolPerformance(
            return_72h=return_72h(trader.book, now_ms),
            outside=trader.outside,
            refused=FundCode.SYMBOL_LIMIT.name in trader.refused.values(),
        )

    def _wanted(self, facts: Mapping[str, SymbolPerformance], now_ms: int, scheduled: bool) -> dict[str, int]:
        pot, strategy, tolerance = self.pot, self.settings.allocation_strategy, self.settings.resize_tolerance
        score = rules.scores(facts)
        requests = [
            ShareRequest(
                symbol=symbol,
                weight=Decimal(1),
                cap_units=pot.pool,
                floor_units=pot.used[symbol],
                score=score[symbol],
                demand=rules.demand(facts[symbol]),
            )
            for symbol in SYMBOLS
        ]
        target = rules.share_pool(strategy, pot.pool, requests)
        if not rules.differs(pot.allocated, target, tolerance):
            return pot.allocated
        if strategy is not AllocationStrategy.DYNAMIC:
            return target
        if now_ms - self.stepped_ms < STEP_GAP_MS:
            return pot.allocated
        wanted = rules.stepped(pot.pool, requests, pot.allocated, target, self.settings.dynamic_step)
        too_little = scheduled and not rules.differs(pot.allocated, wanted, tolerance)
        return pot.allocated if too_little else wanted

    def _fired(self, facts: Mapping[str, SymbolPerformance], now_ms: int) -> bool:
        pot, status = self.pot, self.pot.status()
        usages = [share.usage for share in status.symbols.values()]
        pot.spread_fired = pot.spread_fired and rules.spread_of_usage(usages) >= rules.SPREAD_ARMS
        fired = rules.trigger(status, facts)
        if fired is None or now_ms < self.locked_until_ms:
            return False
        self.locked_until_ms = now_ms + TRIGGER_GAP_MS
        pot.spread_fired = pot.spread_fired or fired == rules.USAGE_SPREAD
        return True
