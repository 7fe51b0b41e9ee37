"""The decisions of a tick. Pure: no network call, no clock.

`decide` takes what the tick read. It books the fills, keeps or sets the grid, and plans the orders. `conclude` takes
the exchange's answers and returns the report and the last records. The trader calls both; it reads and applies, and
decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tasks.base.errors import ConfigError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.exchange.models import Market, Order, Placement, Ticker
from tasks.exchange.order_ids import account_tag
from tasks.funds.models import FeeCharge, FillMove, Write
from tasks.grid.levels import build_cells, build_grid, is_grid_of, level_problems, rounded_again, unfit_problems
from tasks.grid.models import Grid, GridPlan
from tasks.grid.planner import plan
from tasks.grid.window import has_left, moved, place_of
from tasks.market.models import Snapshot
from tasks.orders.models import Evidence
from tasks.risk.models import Verdict
from tasks.settings.grids import StartMode, SymbolSettings
from tasks.settings.model import Settings
from tasks.tick import retiring
from tasks.tick.corrections import NOTHING, Booked, book_corrections, settled_writes
from tasks.tick.fees import charges, pay_fees, value_pending
from tasks.tick.fold import Folded, fold
from tasks.tick.grid_change import change_grid, is_empty, level_cells, move_dust
from tasks.tick.limits import limits_of, other_orders, resting_buys, waiting_for_base, without_filter_refusals
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.order_requests import Granted, outcome_of
from tasks.tick.records import dropped_cells, failed_orders, grid_writes, published, slot_writes, writes
from tasks.tick.report import Tick, report_of
from tasks.tick.slots import first_cycle
from tasks.tick.stops import stop_writes, verdict_of


@dataclass(frozen=True)
class Rules:
    """The rules for a symbol: its market, the settings in force, and the money for a new grid.

    `even_share`: the pool divided by the number of symbols, in quote. `market_changed`: since the last plan.
    """

    market: Market
    settings: Settings
    keys: Keys
    even_share: Decimal
    market_changed: bool = False

    @property
    def symbol(self) -> str:
        return self.market.symbol

    @property
    def configured(self) -> SymbolSettings | None:
        """The symbol's settings; None where it left the settings."""
        return self.settings.symbols.get(self.symbol)

    @property
    def is_retiring(self) -> bool:
        """Whether the symbol left the settings."""
        return self.configured is None


class Readings(NamedTuple):
    """What one tick read. Times in ms.

    `asked_ms`: before the first request for evidence. `now_ms`: after the last answer. `slots`: highest cycle by order
    slot; empty unless `needs_slots`. `free_base`: on the exchange; None unless `limits.needs_free_base`. `volatility`:
    annualised; None unless `needs_volatility`, and where too few candles are known.
    """

    started_ms: int
    asked_ms: int
    now_ms: int
    state: SymbolState
    open_orders: Sequence[Order]
    ticker: Ticker
    evidence: Mapping[str, Evidence]
    coin_prices: Mapping[str, Decimal]
    slots: Mapping[str, int]
    free_base: Decimal | None = None
    volatility: Decimal | None = None


@dataclass
class Decision:
    """What a tick does.

    `folded`: the state after the fills; the trader adds each order that it journals. `grid`: None where the symbol has
    no grid to trade. `moves`, `changes` and `charges`: money to book, records to write and fees for other symbols'
    cells, in one script. `refusal`: why the first grid cannot start; fills are booked anyway.
    `unfit`: why the grid only sells: it, or the grid that should replace it, does not fit the market now.
    `corrected`: base that went missing or came back. `verdict`: of the symbol's stops, limits and guards.
    """

    readings: Readings
    snapshot: Snapshot
    folded: Folded
    grid: Grid | None = None
    is_new_grid: bool = False
    moves: list[FillMove] = field(default_factory=list)
    changes: list[Write] = field(default_factory=list)
    charges: list[FeeCharge] = field(default_factory=list)
    plan: GridPlan = field(default_factory=GridPlan)
    refusal: ConfigError | None = None
    unfit: str = ""
    corrected: Booked = NOTHING
    verdict: Verdict | None = None

    @property
    def has_changes(self) -> bool:
        """Whether the tick has anything to book or to write."""
        return bool(self.moves or self.changes or self.folded.ended)

    @property
    def cancel(self) -> list[str]:
        """Exchange ids of the orders to cancel: as planned, and every orphan order."""
        intents = self.folded.intents
        planned = [intents[client_id] for client_id in self.plan.cancel if client_id in intents]
        orphans = [intent for intent in intents.values() if intent.orphan]
        return list(dict.fromkeys(one.exchange_id for one in (*planned, *orphans) if one.exchange_id))


class Conclusion(NamedTuple):
    """The end of a tick: its report, the client ids of orders that ended, and the records to write."""

    report: TickReport
    ended: list[str]
    changes: list[Write]


def needs_slots(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the order slots: to set or move a grid, or to delete cells outside its range."""
    current = _configured_grid(rules, state)
    if current is None or rules.configured is None:
        return True
    own = _own_cells(state, current)
    if own != len(state.cells) or len(current.levels) - 1 != own:
        return True
    if not _may_move(rules, state, ticker, now_ms):
        return False
    at = place_of(current, rules.configured, rules.market, ticker.last)
    return at != current.first_index or has_left(current, rules.configured, ticker.last)


def needs_volatility(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the symbol's volatility: to set a grid whose spacing depends on it."""
    configured, current = rules.configured, _configured_grid(rules, state)
    if configured is None or not configured.needs_volatility:
        return False
    may_move = _may_move(rules, state, ticker, now_ms)
    return current is None or (may_move and has_left(current, configured, ticker.last))


def decide(rules: Rules, readings: Readings) -> Decision:
    """Book the fills, keep or set the grid, and plan the orders to cancel and to place."""
    state = readings.state
    folded = fold(
        state.book,
        state.cells,
        state.intents,
        readings.evidence,
        rules.market,
        readings.asked_ms,
        rules.settings.trading.protection_ms,
        readings.coin_prices,
        from_units(state.share.allocated_units),
    )
    value_pending(folded, readings.coin_prices)
    pay_fees(folded, state.fee_queue, rules.market, readings.now_ms)
    decision = Decision(readings, Snapshot(market=rules.market, ticker=readings.ticker), folded)
    decision.corrected = _corrected(rules, decision)
    decision.moves = list(folded.moves)
    decision.charges = charges(folded.fees, folded.valued)
    decision.changes = [
        *writes(folded, rules.keys, rules.symbol),
        *settled_writes(decision.corrected, rules.symbol, rules.keys),
    ]
    try:
        decision.grid = _grid(rules, decision)
    except ConfigError as refusal:
        decision.grid = state.grid
        decision.unfit = "; ".join(map(str, refusal.problems))
        decision.refusal = refusal if state.grid is None else None
    if decision.grid is not None:
        _move_dust(rules, decision, decision.grid)
        _plan(rules, decision, decision.grid)
    return decision


def _corrected(rules: Rules, decision: Decision) -> Booked:
    """Book base that went missing or came back."""
    readings, folded, price = decision.readings, decision.folded, decision.snapshot.price
    grid_id_now = readings.state.grid.grid_id if readings.state.grid else ""
    return book_corrections(folded, readings.state.corrections, grid_id_now, price, rules.market, readings.now_ms)


def conclude(
    rules: Rules,
    decision: Decision,
    granted: Sequence[Granted],
    answers: Sequence[Placement],
    refused: Mapping[str, str],
    now_ms: int,
) -> Conclusion:
    """The end of the tick.

    `answers`: of the exchange, one for each granted order. `refused`: cell key → why the pot granted nothing.
    """
    assert decision.grid is not None
    readings, grid = decision.readings, decision.grid
    outcome = outcome_of(granted, answers, decision.folded, rules.market, now_ms)
    tick = Tick(
        readings.started_ms,
        now_ms,
        readings.state,
        decision.snapshot,
        grid,
        decision.plan,
        answers,
        refused,
        decision.unfit,
        decision.folded.fees_waiting,
        decision.verdict,
    )
    report = report_of(tick, outcome, rules.settings.trading, retiring=rules.is_retiring)
    empty = [key for key, cell in outcome.cells.items() if is_empty(cell) and (report.left or not grid.has(cell))]
    outcome.touched -= set(empty)
    changes = writes(outcome, rules.keys, rules.symbol) + failed_orders(rules.keys, outcome.ended)
    if empty:
        live = [key for key in outcome.cells if key not in empty]
        changes += dropped_cells(rules.keys, rules.symbol, empty)
        changes += slot_writes(readings.slots, live, "" if report.left else grid.grid_id, rules.keys, rules.symbol)
    changes += published(rules.keys, report)
    return Conclusion(report, [intent.client_id for intent in outcome.ended], changes)


def _configured_grid(rules: Rules, state: SymbolState) -> Grid | None:
    """The symbol's grid if it is the configured one, else None. A retiring symbol has no configured grid."""
    if rules.configured is None or state.grid is None:
        return None
    return state.grid if is_grid_of(state.grid, rules.configured) else None


def _own_cells(state: SymbolState, grid: Grid) -> int:
    return sum(map(grid.has, state.cells.values()))


def _may_move(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether the range may follow the price now: buys are allowed, and the price is fresh and no unconfirmed jump."""
    if state.stopped or state.paused or state.share.paused or state.share.fired or rules.configured is None:
        return False
    if now_ms - ticker.at_ms > rules.settings.trading.stale_price_seconds * 1000:
        return False
    jump, last = rules.configured.max_price_jump_pct, state.last
    return jump is None or last is None or abs(ticker.last - last.price) <= last.price * jump


def _grid(rules: Rules, decision: Decision) -> Grid | None:
    """The grid to trade: the present one, or a new one where there is none or the settings describe another.

    A symbol that left the settings keeps its last grid; None where it never had one. Raises ConfigError where the new
    grid cannot start.
    """
    state, folded, keys = decision.readings.state, decision.folded, rules.keys
    if rules.configured is None:
        return state.grid
    current = _configured_grid(rules, state)
    if current is not None:
        current = _in_place(rules, decision, _rounded_again(rules, decision, current, rules.configured))
    own = [cell for cell in folded.cells.values() if current and current.has(cell)]
    has_moved = current is not None and state.grid is not None and current.first_index != state.grid.first_index
    if current is not None and len(own) == len(current.levels) - 1 and not has_moved:
        decision.changes += [] if decision.unfit else level_cells(folded, current, keys)
        return current
    grid, slots, start = current, decision.readings.slots, StartMode.FLAT
    if grid is None or not (own or has_moved):
        grid = _new_grid(rules, decision, rules.configured)
        start = _start_of(rules.configured, state.grid, grid)
    fresh = build_cells(grid, start, first_cycle(slots, grid.grid_id))
    if has_moved:
        fresh = [cell for cell in fresh if cell.key not in folded.cells]
    decision.changes += change_grid(folded, grid, fresh, keys)
    decision.changes += level_cells(folded, grid, keys)
    decision.changes += slot_writes(slots, list(folded.cells), grid.grid_id, keys, rules.symbol)
    decision.is_new_grid = True
    return grid


def _in_place(rules: Rules, decision: Decision, held: Grid) -> Grid | None:
    """The grid in force with its range where the price is now; None where it starts anew around the price.

    It stays where it is while the cells of the new place would not pay their fees, or buys are not allowed.
    """
    configured, readings, market = rules.configured, decision.readings, rules.market
    if configured is None or decision.unfit or not _may_move(rules, readings.state, readings.ticker, readings.now_ms):
        return held
    price = decision.snapshot.price
    if has_left(held, configured, price):
        return None
    at = place_of(held, configured, market, price)
    if at == held.first_index:
        return held
    grid = moved(held, at, configured, market, readings.now_ms)
    if level_problems(rules.symbol, grid.levels, market):
        return held
    return grid


def _start_of(configured: SymbolSettings, earlier: Grid | None, grid: Grid) -> StartMode:
    """How the grid starts. One that starts anew below the range buys nothing at once: the symbol holds base already."""
    went_down = configured.is_anchored and earlier is not None and grid.first_price < earlier.levels[0]
    return StartMode.FLAT if went_down else configured.start


def _rounded_again(rules: Rules, decision: Decision, held: Grid, configured: SymbolSettings) -> Grid:
    """The grid in force on the market's present tick size.

    Where that grid must not buy, it stays as it was, and `decision.unfit` says why: what it holds is sold as planned.
    """
    grid = rounded_again(held, configured, rules.market)
    problems = unfit_problems(rules.symbol, configured, grid.levels, rules.market)
    decision.unfit = "; ".join(map(str, problems))
    if decision.unfit or grid is held:
        return held
    decision.changes += grid_writes(rules.keys, grid)
    return grid


def _new_grid(rules: Rules, decision: Decision, configured: SymbolSettings) -> Grid:
    readings, price = decision.readings, decision.snapshot.price
    allocated = max(from_units(readings.state.share.allocated_units), rules.even_share)
    configured = configured.fitted(readings.volatility)
    return build_grid(rules.symbol, configured, rules.market, price, allocated, readings.now_ms)


def _move_dust(rules: Rules, decision: Decision, grid: Grid) -> None:
    """Move small remainders from cells that no longer buy to cells where they can be sold."""
    folded, keys, now_ms = decision.folded, rules.keys, decision.readings.now_ms
    if rules.is_retiring:
        moved = retiring.gather_dust(folded, rules.market, keys, now_ms)
    else:
        moved = move_dust(folded, grid, decision.snapshot.price, rules.market, keys, now_ms)
    if moved is None:
        return
    decision.moves += moved.moves
    decision.changes += moved.writes
    slots = decision.readings.slots
    decision.changes += slot_writes(slots, list(folded.cells), grid.grid_id, keys, rules.symbol)


def _look_at_stops(rules: Rules, decision: Decision, grid: Grid) -> None:
    """Judge the symbol by its stops, limits and guards. One that left the settings has none."""
    if rules.configured is None:
        return
    readings, snapshot = decision.readings, decision.snapshot
    decision.verdict = verdict_of(
        rules.configured,
        rules.settings.trading,
        readings.state,
        decision.folded.book,
        grid,
        snapshot,
        decision.moves,
        readings.now_ms,
    )
    decision.changes += stop_writes(decision.verdict, rules.configured, rules.keys, rules.symbol, snapshot.price)


def _plan(rules: Rules, decision: Decision, grid: Grid) -> None:
    readings, folded = decision.readings, decision.folded
    unfit = bool(decision.unfit)
    _look_at_stops(rules, decision, grid)
    if rules.market_changed:
        decision.changes += without_filter_refusals(folded, rules.keys)
    limits = limits_of(
        rules.settings,
        readings.state,
        folded,
        decision.snapshot,
        readings.now_ms,
        unfit=unfit,
        free_base=readings.free_base,
        others=other_orders(readings.open_orders, folded),
        verdict=decision.verdict,
    )
    tag = account_tag(rules.keys.account)
    cells = list(folded.cells.values())
    planned = plan(decision.snapshot, grid, cells, limits, resting_buys(folded), tag)
    for_fees = [client_id for client_id in folded.to_cancel if client_id not in planned.cancel]
    decision.plan = planned.model_copy(update={"cancel": (*planned.cancel, *for_fees)}) if for_fees else planned
    decision.changes += waiting_for_base(folded, decision.plan, rules.keys, readings.now_ms)
