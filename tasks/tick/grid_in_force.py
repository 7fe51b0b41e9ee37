"""Which grids a symbol trades: those it has, the same with their ranges elsewhere, or new ones. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import from_units
from tasks.base.remembering import by_identity
from tasks.exchange.models import Market, Ticker
from tasks.grid.levels import (
    build_cells,
    build_grid,
    configured_grids,
    grids_by_name,
    kept_grids,
    level_problems,
    rounded_again,
    unfit_problems,
)
from tasks.grid.models import Cell, Grid
from tasks.grid.window import has_left, moved, place_of
from tasks.risk.rules import has_jumped
from tasks.settings.grids import GridSettings, StartMode, SymbolSettings
from tasks.settings.grids.common import NO_TRAIL
from tasks.tick.decision import Decision, Rules
from tasks.tick.grid_change import change_grid, level_cells
from tasks.tick.models import SymbolState
from tasks.tick.records import grid_writes, slot_writes
from tasks.tick.slots import first_cycle
from tasks.tick.stops import is_stale


def needs_slots(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the order slots: to set or move a grid, or to delete cells outside its range."""
    own, grid = rules.configured, state.grid
    if own is None or grid is None:
        return True
    kept = kept_grids(grid, own)
    if not len(kept) == len(own.each_grid) == len(grid.each) or state.cells.keys() != grid.cell_keys:
        return True
    elsewhere = any(_is_elsewhere(rules, each, settings, ticker) for each, settings in kept)
    return elsewhere and _may_move(rules, state, ticker, now_ms)


def _is_elsewhere(rules: Rules, grid: Grid, own: GridSettings, ticker: Ticker) -> bool:
    """Whether the range has another place now, or the grid starts anew."""
    if _stays(grid, own):
        return False
    at = place_of(grid, own, rules.market, ticker.last)
    return at != grid.first_index or len(grid.indices) != own.cells or has_left(grid, own, ticker.last)


@by_identity
def _stays(grid: Grid, own: GridSettings) -> bool:
    """Whether the range has its place at any price."""
    if own.trail_limits != NO_TRAIL or own.recentres(up=True) or own.recentres(up=False):
        return False
    return grid.first_index == own.start_index(grid.first_price) and len(grid.indices) == own.cells


def needs_volatility(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the symbol's volatility: to set a grid whose spacing depends on it."""
    configured = rules.configured
    wanted = [(name, own) for name, own in configured.each_grid.items() if own.needs_volatility] if configured else []
    if configured is None or not wanted:
        return False
    found, may_move = configured_grids(state.grid, configured), _may_move(rules, state, ticker, now_ms)
    grids = ((found[name], own) for name, own in wanted)
    return any(grid is None or (may_move and has_left(grid, own, ticker.last)) for grid, own in grids)


def _may_move(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether the range may follow the price now: buys are allowed, and the price is fresh and no unconfirmed jump."""
    if state.stopped or state.paused or state.share.paused or state.share.fired or rules.configured is None:
        return False
    if is_stale(ticker, rules.settings.trading, now_ms):
        return False
    return not has_jumped(rules.configured, ticker.last, state.last.price if state.last else None)


class _Chosen(NamedTuple):
    """One grid to trade. `fresh`: its cells that are to be added. `is_new`: it was not in force, or has moved."""

    grid: Grid
    fresh: list[Cell]
    is_new: bool = False
    unfit: tuple[Problem, ...] = ()


def grid_in_force(rules: Rules, decision: Decision) -> Grid | None:
    """The grid to trade: the present one, or a new one where there is none or the settings describe another. The first
    of several carries the others.

    A symbol that left the settings keeps its last grid; None where it never had one. Raises ConfigError where the new
    grid cannot start; where others of the symbol can, it is left out, or stays as it was.
    """
    state, folded, keys = decision.readings.state, decision.folded, rules.keys
    if rules.configured is None:
        return state.grid
    chosen, refusals = _choose(rules, decision, rules.configured)
    if not chosen:
        raise refusals[0]
    _note_unfit(decision, chosen, refusals)
    grid = chosen[0].grid.with_others([one.grid for one in chosen[1:]])
    if grid is not state.grid and grid == state.grid:
        grid = state.grid  # what follows from it is remembered by its identity
    has_left_one = state.grid is not None and grid is not state.grid and not state.grid.ids <= grid.ids
    decision.is_new_grid = has_left_one or any(one.is_new for one in chosen)
    if decision.is_new_grid:
        decision.changes += change_grid(folded, grid, [cell for one in chosen for cell in one.fresh], keys)
    elif grid is not state.grid:
        decision.changes += grid_writes(keys, grid)
    for one in chosen:
        decision.changes += [] if one.unfit else level_cells(folded, one.grid, keys)
    if decision.is_new_grid:
        decision.changes += slot_writes(decision.readings.slots, list(folded.cells), grid.ids, keys, rules.symbol)
    return grid


def _note_unfit(decision: Decision, chosen: Sequence[_Chosen], refusals: Sequence[ConfigError]) -> None:
    """Note which grids only sell, and why these, and others that are left out, cannot trade."""
    unfit = [one for one in chosen if one.unfit]
    if not unfit and not refusals:
        return
    decision.unfit_grids = frozenset(one.grid.grid_id for one in unfit)
    problems = [problem for one in unfit for problem in one.unfit]
    found = problems + [problem for error in refusals for problem in error.problems if problem not in problems]
    decision.unfit = "; ".join(map(str, found))


def _choose(rules: Rules, decision: Decision, configured: SymbolSettings) -> tuple[list[_Chosen], list[ConfigError]]:
    """The grids to trade, and why others cannot start. One that cannot be replaced stays, and only sells."""
    state = decision.readings.state
    held, current, wanted = grids_by_name(state.grid), configured_grids(state.grid, configured), configured.each_grid
    chosen, refusals = [], []
    for name, own in wanted.items():
        try:
            chosen.append(_chosen(rules, decision, name, own, held.get(name), current[name]))
        except ConfigError as refusal:
            refusals.append(refusal)
            if len(wanted) > 1 and name in held:
                chosen.append(_Chosen(held[name], [], unfit=tuple(refusal.problems)))
    return chosen, refusals


def _chosen(
    rules: Rules, decision: Decision, name: str, own: GridSettings, held: Grid | None, current: Grid | None
) -> _Chosen:
    """The grid `name` to trade. `held`: that the symbol has now; `current`: the same if it is the configured one."""
    folded, slots = decision.folded, decision.readings.slots
    unfit: tuple[Problem, ...] = ()
    placed = current
    if current is not None:
        current, unfit = _rounded_again(rules.market, current, own)
        placed = current if unfit else _in_place(rules, decision, current, own)
    has_moved = placed is not None and held is not None and placed is not held and placed.indices != held.indices
    if placed is not None and not has_moved and folded.cells.keys() >= placed.own_keys:
        return _Chosen(placed, [], unfit=unfit)
    grid, start = placed, StartMode.FLAT
    if grid is None or not (has_moved or folded.cells.keys() & grid.own_keys):
        grid = _new_grid(rules, decision, name, own)
        start = _start_of(own, held, grid)
    fresh = build_cells(grid, start, first_cycle(slots, grid.grid_id))
    if has_moved:
        fresh = [cell for cell in fresh if cell.key not in folded.cells]
    return _Chosen(grid, fresh, is_new=True, unfit=unfit)


def _in_place(rules: Rules, decision: Decision, held: Grid, own: GridSettings) -> Grid | None:
    """The grid in force with its range where the price is now; None where it starts anew around the price.

    It stays where it is while the cells of the new place would not pay their fees, or buys are not allowed.
    """
    readings, market = decision.readings, rules.market
    if not _is_elsewhere(rules, held, own, readings.ticker):
        return held
    if not _may_move(rules, readings.state, readings.ticker, readings.now_ms):
        return held
    price = decision.snapshot.price
    if has_left(held, own, price):
        return None
    at = place_of(held, own, market, price)
    grid = moved(held, at, own, market, readings.now_ms)
    if level_problems(rules.symbol, grid.levels, market):
        return held
    return grid


def _start_of(own: GridSettings, earlier: Grid | None, grid: Grid) -> StartMode:
    """How the grid starts. One that starts anew below the range buys nothing at once: the symbol holds base already."""
    went_down = own.is_anchored and earlier is not None and grid.first_price < earlier.levels[0]
    return StartMode.FLAT if went_down else own.start


@by_identity
def _rounded_again(market: Market, held: Grid, own: GridSettings) -> tuple[Grid, tuple[Problem, ...]]:
    """The grid in force on the market's present tick size.

    Where that grid must not buy, it stays as it was, and the second part says why: what it holds is sold as planned.
    """
    grid = rounded_again(held, own, market)
    unfit = unfit_problems(market.symbol, own, grid.levels, market, grid.first_price, grid.name)
    return (held if unfit else grid), unfit


def _new_grid(rules: Rules, decision: Decision, name: str, own: GridSettings) -> Grid:
    readings, price = decision.readings, decision.snapshot.price
    allocated = max(from_units(readings.state.share.allocated_units), rules.even_share)
    if rules.configured is not None:
        allocated *= rules.configured.part_of(name)
    own = own.fitted(readings.volatility)
    return build_grid(rules.symbol, own, rules.market, price, allocated, readings.now_ms, name)
