"""The decisions of a tick. Pure: no network call, no clock.

`decide` takes what the tick read. It books the fills, keeps or sets the grid, and plans the orders. `conclude` takes
the exchange's answers and returns the report and the last changes. The trader calls both; it reads and applies, and
decides nothing. `records_of` and `last_records` name what it writes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.base.errors import ConfigError
from tasks.base.money import from_units
from tasks.base.unchecked import unchecked
from tasks.exchange.models import Placement
from tasks.exchange.order_ids import account_tag
from tasks.funds.models import Write
from tasks.grid.levels import configured_size
from tasks.grid.models import Grid, Size
from tasks.grid.plan_models import MARKET_SLIPPAGE
from tasks.grid.planner import exit_price, plan
from tasks.market.models import Snapshot
from tasks.orders.models import Intent
from tasks.tick import retiring
from tasks.tick.corrections import NOTHING, Booked, book_corrections, settled_writes
from tasks.tick.decision import Decision, Readings, Rules
from tasks.tick.fees import charges, pay_fees, value_pending
from tasks.tick.fold import Folded, fold
from tasks.tick.grid_change import gather_small, is_empty, move_dust
from tasks.tick.grid_in_force import grid_in_force
from tasks.tick.limits import limits_of, other_orders, resting_buys, waiting_for_base, without_filter_refusals
from tasks.tick.models import TickReport
from tasks.tick.order_requests import outcome_of
from tasks.tick.records import dropped_cells, failed_orders, published, slot_writes, writes
from tasks.tick.report import Tick, report_of
from tasks.tick.reserve import spread_reserve
from tasks.tick.stops import stop_writes, verdict_of


class Conclusion(NamedTuple):
    """The end of a tick. `outcome`: the state after the answers. `changes`: records to write beside those of it."""

    report: TickReport
    outcome: Folded
    changes: list[Write]

    @property
    def ended(self) -> list[str]:
        """Client ids of the orders that ended."""
        return [intent.client_id for intent in self.outcome.ended]


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
    decision = Decision(readings, unchecked(Snapshot, market=rules.market, ticker=readings.ticker), folded)
    decision.corrected = _corrected(rules, decision)
    decision.moves = list(folded.moves)
    decision.charges = charges(folded.fees, folded.valued)
    try:
        decision.grid = grid_in_force(rules, decision)
    except ConfigError as refusal:
        decision.grid = state.grid
        decision.unfit = "; ".join(map(str, refusal.problems))
        decision.unfit_grids = state.grid.ids if state.grid else frozenset()
        decision.refusal = refusal if state.grid is None else None
    if decision.grid is not None:
        _spread_reserve(rules, decision, decision.grid)
        _move_dust(rules, decision, decision.grid)
        _plan(rules, decision, decision.grid)
    return decision


def records_of(rules: Rules, decision: Decision) -> list[Write]:
    """The records to write with the decision's moves: those that the fills changed, and then `changes`."""
    keys, symbol = rules.keys, rules.symbol
    settled = settled_writes(decision.corrected, symbol, keys)
    return [*writes(decision.folded, keys, symbol), *settled, *decision.changes]


def last_records(rules: Rules, conclusion: Conclusion) -> list[Write]:
    """The records to write at the end of a tick."""
    keys, outcome = rules.keys, conclusion.outcome
    orders = writes(outcome, keys, rules.symbol) + failed_orders(keys, outcome.ended)
    return [*orders, *conclusion.changes, *published(keys, conclusion.report)]


def _corrected(rules: Rules, decision: Decision) -> Booked:
    """Book base that went missing or came back."""
    readings, folded, price = decision.readings, decision.folded, decision.snapshot.price
    corrections = readings.state.corrections
    if not corrections:
        return NOTHING
    in_force = readings.state.grid.ids if readings.state.grid else frozenset()
    return book_corrections(folded, corrections, in_force, price, rules.market, readings.now_ms)


def conclude(
    rules: Rules,
    decision: Decision,
    intents: Sequence[Intent],
    answers: Sequence[Placement],
    refused: Mapping[str, str],
    now_ms: int,
) -> Conclusion:
    """The end of the tick.

    `intents`: journalled at this tick. `answers`: of the exchange, one for each. `refused`: cell key → why the pot
    granted nothing.
    """
    assert decision.grid is not None
    readings, grid = decision.readings, decision.grid
    outcome = outcome_of(intents, answers, decision.folded, rules.market, now_ms)
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
    in_range = frozenset[str]() if report.left else grid.cell_keys
    empty = [key for key in sorted(outcome.cells.keys() - in_range) if is_empty(outcome.cells[key])]
    outcome.touched -= set(empty)
    for key in empty:
        del outcome.cells[key]
    changes: list[Write] = []
    if empty:
        changes += dropped_cells(rules.keys, rules.symbol, empty)
        changes += slot_writes(
            readings.slots, list(outcome.cells), () if report.left else grid.ids, rules.keys, rules.symbol
        )
    return Conclusion(report, outcome, changes)


def _spread_reserve(rules: Rules, decision: Decision, grid: Grid) -> None:
    """Give cells that infinity grids have reached their part of the reserve."""
    configured, readings = rules.configured, decision.readings
    if configured is None:
        return
    for each in grid.each:
        own = configured.each_grid.get(each.name)
        if own is None or own.reserve_share is None:
            continue
        allocated = from_units(readings.state.share.allocated_units) * configured.part_of(each.name)
        total = own.cell_weights(each.first_price).total
        size = configured_size(own) or Size.of_quote(allocated / total)
        before = readings.state.grid.by_id(each.grid_id) if readings.state.grid else None
        moved = spread_reserve(decision.folded, before, each, own, size, rules.market, rules.keys, readings.now_ms)
        if moved is not None:
            decision.moves += moved.moves
            decision.changes += moved.writes


def _move_dust(rules: Rules, decision: Decision, grid: Grid) -> None:
    """Move small remainders from cells that no longer buy to cells where they can be sold."""
    folded, keys, now_ms, price = decision.folded, rules.keys, decision.readings.now_ms, decision.snapshot.price
    if rules.is_retiring:
        moves = [retiring.gather_dust(folded, rules.market, keys, now_ms)]
    else:
        moves = [move_dust(folded, grid, price, rules.market, keys, now_ms)]
    share, own = decision.readings.state.share, rules.configured
    if share.liquidate and (own is None or share.paused or share.fired):
        least = exit_price(decision.snapshot, own.stop_slippage if own else MARKET_SLIPPAGE)
        moves.append(gather_small(folded, grid, least, rules.market, keys, now_ms))
    found = [moved for moved in moves if moved is not None]
    if not found:
        return
    for moved in found:
        decision.moves += moved.moves
        decision.changes += moved.writes
    slots = decision.readings.slots
    decision.changes += slot_writes(slots, list(folded.cells), grid.ids, keys, rules.symbol)


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
    _look_at_stops(rules, decision, grid)
    if rules.market_changed:
        decision.changes += without_filter_refusals(folded, rules.keys)
    limits = limits_of(
        rules.settings,
        readings.state,
        folded,
        decision.snapshot,
        grid,
        readings.now_ms,
        unfit=decision.unfit_grids,
        free_base=readings.free_base,
        others=other_orders(readings.open_orders, folded) if rules.limits_orders else 0,
        verdict=decision.verdict,
    )
    tag = account_tag(rules.keys.account)
    cells = list(folded.cells.values())
    planned = plan(decision.snapshot, grid, cells, limits, resting_buys(folded), tag)
    for_fees = [client_id for client_id in folded.to_cancel if client_id not in planned.cancel]
    decision.plan = planned.model_copy(update={"cancel": (*planned.cancel, *for_fees)}) if for_fees else planned
    decision.changes += waiting_for_base(folded, decision.plan, rules.keys, readings.now_ms)
