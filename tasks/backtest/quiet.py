"""When ticks would do nothing, so that a backtest may skip their candles. Pure.

A symbol is quiet while every order rests as the journal has it and every cell without an order waits for a price or for
money. Then a tick changes nothing until a candle reaches an order, a close passes one of two bounds, or money moves.
Where that is not certain, the answer is None: the next candle is ticked. Tests hold it against ticking every candle.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tasks.backtest.pot import Share
from tasks.backtest.rule_bounds import BOUNDED, EVERY_CANDLE, INERT, NO_BOUNDS, RuleBounds, rule_bounds
from tasks.base.money import ZERO, from_units
from tasks.base.remembering import by_identity
from tasks.exchange.models import Market
from tasks.funds.models import FundCode
from tasks.grid.levels import configured_size
from tasks.grid.models import Cell, CellState, Grid, Size
from tasks.grid.plan_models import IdleReason
from tasks.grid.sizing import cell_money, grid_money, holds_nothing, lots
from tasks.grid.window import moves_at
from tasks.ledger.rules import total
from tasks.paper.units import to_units
from tasks.settings.grids import (
    AdaptiveSettings,
    ArithmeticSettings,
    GeometricSettings,
    GridSettings,
    InfinitySettings,
    SeveralSettings,
    SymbolSettings,
)
from tasks.settings.grids.common import NO_TRAIL
from tasks.settings.grids.several import AdaptiveTable, ArithmeticTable, GeometricTable, InfinityTable
from tasks.tick.decision import Decision, Rules

# What this module knows of a symbol's settings. A setting that is not here may bring a rule that acts by itself.
_ONE = (ArithmeticSettings, GeometricSettings, AdaptiveSettings, InfinitySettings)
_OF_SEVERAL = (ArithmeticTable, GeometricTable, AdaptiveTable, InfinityTable)
KNOWN_KINDS = (*_ONE, *_OF_SEVERAL, SeveralSettings)
_GEOMETRY = frozenset(
    {
        "grid",
        "grids",
        "lower",
        "upper",
        "range_pct",
        "spacing_pct",
        "min_spacing_pct",
        "max_spacing_pct",
        "cells",
        "quote_per_cell",
        "base_per_cell",
        "size_factor",
        "start",
        "earn",
        "max_usage_pct",
        "weight",
    }
)
_MOVING = frozenset({"trail_up_to", "trail_down_to", "recentre"})  # `_moves` has their bounds
KNOWN_FIELDS = _GEOMETRY | _MOVING | EVERY_CANDLE | BOUNDED | INERT
_FOR_MONEY = frozenset({FundCode.SYMBOL_LIMIT.name, FundCode.GLOBAL_LIMIT.name})
_BY_RULE = frozenset({IdleReason.NOT_STARTED, IdleReason.PAUSED_BY_RULE})  # `rule_bounds` has their end


class Quiet(NamedTuple):
    """The bounds of the quiet. Prices in units of 1e-8.

    `above`: the lowest buy price of a cell that waits for the price to rise above it; None where no cell does.
    `below`: the highest buy price of a cell that waits for money; a close at or below it changes why it waits.
    `follows_pool`: whether money of other symbols may end the quiet. `until_ms`: when a rule may act; None: never.
    The bounds of the symbol's stops and guards are in them too.
    """

    above: int | None = None
    below: int | None = None
    follows_pool: bool = False
    until_ms: int | None = None


@cache
def is_known(kind: type[SymbolSettings | GridSettings]) -> bool:
    """Whether every rule of this kind of grid is known here."""
    return kind in KNOWN_KINDS and KNOWN_FIELDS.issuperset(kind.model_fields)


@by_identity
def _all_known(own: SymbolSettings) -> bool:
    """Whether every rule of the symbol and of its grids is known here."""
    return is_known(type(own)) and all(is_known(type(grid)) for grid in own.each_grid.values())


def quiet_after(rules: Rules, decision: Decision, share: Share, refused: bool) -> Quiet | None:
    """The quiet after a tick and its orders. `share`: after them. `refused`: whether the pot refused a new order.

    `decision.folded` has the cells and orders as they are after the tick. The caller knows that every order rests.
    """
    own, folded, grid = rules.configured, decision.folded, decision.grid
    if own is None or grid is None or not _all_known(own) or decision.unfit or not _is_plain(rules.market):
        return None
    if folded.fees_waiting or folded.book.unvalued or refused or share.committed > (share.allocated or 0):
        return None
    if decision.plan.cancel:
        return None
    did_nothing = not (decision.has_changes or decision.plan.place)
    if share.fired:
        return Quiet() if did_nothing and _has_ended(rules.market, decision, share) else None
    following = _following(own, grid)
    if following is None or (following and not did_nothing):
        return None
    if not all(_funds_all(rules.market, own, decision, each, share) for each in following):
        return None
    if decision.verdict is None:
        return None
    marks, now_ms = decision.verdict.marks, decision.readings.now_ms
    by_rules = rule_bounds(own, folded.book, marks, grid.first_price, now_ms)
    if by_rules is None:
        return None
    found = _bounds(decision, grid, did_nothing=did_nothing, sized=not following)
    if found is None:
        return None
    found = _nearest(found, by_rules)
    for each in grid.each:
        found = _nearest(found, _moves(own.each_grid[each.name], each, rules.market))
    return found


@by_identity
def _following(own: SymbolSettings, grid: Grid) -> Sequence[Grid] | None:
    """The symbol's grids whose cells follow the allocation; None where it has others than the settings name."""
    if own.each_grid.keys() != {each.name for each in grid.each}:
        return None
    return tuple(each for each in grid.each if configured_size(own.each_grid[each.name]) is None)


@by_identity
def _moves(own: GridSettings, grid: Grid, market: Market) -> RuleBounds:
    """Where the range follows the price, or the grid starts anew. A bound may come too early, never too late."""
    if own.trail_limits == NO_TRAIL and not (own.recentres(up=True) or own.recentres(up=False)):
        return NO_BOUNDS
    below, above = moves_at(grid, own, market)
    above = grid.beyond[1] if own.recentres(up=True) else above
    below = grid.beyond[0] if own.recentres(up=False) else below
    return RuleBounds(None if above is None else to_units(above) - 1, None if below is None else to_units(below))


def _has_ended(market: Market, decision: Decision, share: Share) -> bool:
    """Whether a stop has nothing left to do: no order, and less than a lot to sell, or it keeps what it holds."""
    folded = decision.folded
    left = market.qty(total(cell.qty for cell in folded.cells.values()))
    return not folded.intents and not (left and share.liquidate)


def _nearest(found: Quiet, rules: RuleBounds) -> Quiet:
    if rules == NO_BOUNDS:
        return found
    above = [bound for bound in (found.above, rules.above) if bound is not None]
    below = [bound for bound in (found.below, rules.below) if bound is not None]
    times = [at_ms for at_ms in (found.until_ms, rules.until_ms) if at_ms is not None]
    return Quiet(min(above, default=None), max(below, default=None), found.follows_pool, min(times, default=None))


def _bounds(decision: Decision, grid: Grid, *, did_nothing: bool, sized: bool) -> Quiet | None:
    """The bounds from the cells without an order; None where one of them waits for something else."""
    above: list[Cell] = []
    below: list[Cell] = []
    ask, now_ms, in_range = decision.snapshot.ask, decision.readings.now_ms, grid.cell_keys
    reasons = decision.plan.idle_reasons
    for cell in [cell for cell in decision.folded.cells.values() if cell.order_id is None]:
        reason = reasons.get(cell.key)
        if reason is IdleReason.RESERVE:
            continue
        if cell.key not in in_range:
            return None
        if cell.state is not CellState.IDLE or cell.entry or cell.retry_ms > now_ms:
            return None
        if cell.buy_price >= ask:
            above.append(cell)
            continue
        if did_nothing and reason in _BY_RULE:
            continue
        if not did_nothing or reason is None or reason not in _FOR_MONEY:
            return None
        below.append(cell)
    return Quiet(
        above=min((_units(cell) for cell in above), default=None),
        below=max((_units(cell) for cell in below), default=None),
        follows_pool=bool(below) or not sized,
    )


def _units(cell: Cell) -> int:
    return int(cell.buy_price.scaleb(8))


@by_identity
def _is_plain(market: Market) -> bool:
    """Whether no filter depends on the market's price."""
    return market.max_orders is None and market.buy_band.is_open and market.sell_band.is_open


def _funds_all(market: Market, settings: SymbolSettings, decision: Decision, grid: Grid, share: Share) -> bool:
    """Whether the allocation gives every cell of one grid its size. Where it does not, the nearest get money first."""
    assert decision.grid is not None
    cells = decision.folded.cells.values()
    own = [cell for cell in cells if cell.grid_id == grid.grid_id and grid.has(cell)]
    empty = [cell for cell in own if holds_nothing(cell)]
    weights = settings.each_grid[grid.name].cell_weights(grid.first_price)
    whole = from_units(share.allocated or 0), from_units(share.used)
    allocated, used = grid_money(*whole, decision.grid, own, cells, settings.part_of(grid.name))
    numbers = [cell.index - grid.first_index for cell in empty]
    without = sum(map(weights.of, numbers), ZERO) if weights.each else len(empty)
    size = Size.of_quote(cell_money(allocated, used, weights.total, without, market.taker_fee))
    return size is not None and all(
        market.large_enough(cell.buy_price, lots(size, cell.buy_price, market.lot_step, weights.of(number)))
        for cell, number in zip(empty, numbers, strict=True)
    )
