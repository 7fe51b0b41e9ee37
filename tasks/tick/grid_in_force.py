"""Which grid a symbol trades: the one it has, the same with its range elsewhere, or a new one. Pure."""

from tasks.base.money import from_units
from tasks.exchange.models import Ticker
from tasks.grid.levels import build_cells, build_grid, is_grid_of, level_problems, rounded_again, unfit_problems
from tasks.grid.models import Grid
from tasks.grid.window import has_left, moved, place_of
from tasks.risk.rules import has_jumped
from tasks.settings.grids import StartMode, SymbolSettings
from tasks.tick.decision import Decision, Rules
from tasks.tick.grid_change import change_grid, level_cells
from tasks.tick.models import SymbolState
from tasks.tick.records import grid_writes, slot_writes
from tasks.tick.slots import first_cycle
from tasks.tick.stops import is_stale


def needs_slots(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the order slots: to set or move a grid, or to delete cells outside its range."""
    current = configured_grid(rules, state)
    if current is None or rules.configured is None:
        return True
    own = _own_cells(state, current)
    if own != len(state.cells) or len(current.levels) - 1 != own:
        return True
    if not _may_move(rules, state, ticker, now_ms):
        return False
    at = place_of(current, rules.configured, rules.market, ticker.last)
    is_elsewhere = at != current.first_index or len(current.indices) != rules.configured.cells
    return is_elsewhere or has_left(current, rules.configured, ticker.last)


def needs_volatility(rules: Rules, state: SymbolState, ticker: Ticker, now_ms: int) -> bool:
    """Whether `decide` needs the symbol's volatility: to set a grid whose spacing depends on it."""
    configured, current = rules.configured, configured_grid(rules, state)
    if configured is None or not configured.needs_volatility:
        return False
    may_move = _may_move(rules, state, ticker, now_ms)
    return current is None or (may_move and has_left(current, configured, ticker.last))


def configured_grid(rules: Rules, state: SymbolState) -> Grid | None:
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
    if is_stale(ticker, rules.settings.trading, now_ms):
        return False
    return not has_jumped(rules.configured, ticker.last, state.last.price if state.last else None)


def grid_in_force(rules: Rules, decision: Decision) -> Grid | None:
    """The grid to trade: the present one, or a new one where there is none or the settings describe another.

    A symbol that left the settings keeps its last grid; None where it never had one. Raises ConfigError where the new
    grid cannot start.
    """
    state, folded, keys = decision.readings.state, decision.folded, rules.keys
    if rules.configured is None:
        return state.grid
    current = configured_grid(rules, state)
    if current is not None:
        current = _in_place(rules, decision, _rounded_again(rules, decision, current, rules.configured))
    own = [cell for cell in folded.cells.values() if current and current.has(cell)]
    has_moved = current is not None and state.grid is not None and current.indices != state.grid.indices
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
    if at == held.first_index and len(held.indices) == configured.cells:
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
    problems = unfit_problems(rules.symbol, configured, grid.levels, rules.market, grid.first_price)
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
