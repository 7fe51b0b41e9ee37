"""What other settings will do to orders and money, and what they must not change now. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tasks.base.errors import Problem
from tasks.base.money import ZERO, from_units, plain
from tasks.exchange.models import Frozen, Market, Side
from tasks.exchange.order_ids import grid_of
from tasks.funds.models import RebalanceReport
from tasks.grid.levels import configured_size, kept_grids
from tasks.grid.models import Cell, Grid, Size
from tasks.grid.plan_models import AssumedBuy, Limits
from tasks.grid.resizing import Candidate, resize
from tasks.grid.sizing import cell_money, grid_money, holds_nothing, reserve_units
from tasks.orders.models import Intent
from tasks.settings.differences import FieldChange
from tasks.settings.grids import SymbolSettings
from tasks.settings.grids.common import CellWeights
from tasks.settings.in_force import MUST_AGREE
from tasks.settings.model import Settings

_BY_MONEY = ("quote", "exchange.id", "exchange.sandbox")  # what orders, inventory and costs belong to
_ROUNDS = 100  # ticks in which the resizing of one symbol ends, and far more than it needs


class Effect(StrEnum):
    """What happens to a symbol."""

    STARTS = "starts"  # it is new
    RETIRES = "retires"  # it left the settings: it buys nothing and sells what it holds
    SOME_GRIDS = "some grids"  # of its several grids, some go or come; of those that go as with a new grid
    NEW_GRID = "new grid"  # old buys are cancelled, the inventory is sold at the old levels
    FOLLOWS = "follows"  # the grid stays; orders follow size and allocation


class SymbolFacts(Frozen):
    """What a symbol has now. Units of 1e-8 quote; `allocated_after`: by the new settings."""

    symbol: str
    grid: Grid | None
    cells: tuple[Cell, ...]
    buys: tuple[Intent, ...]
    allocated: int
    allocated_after: int
    used: int

    @property
    def reserved(self) -> int:
        """Units that the buys hold."""
        return sum(buy.units_left for buy in self.buys)


class SymbolEffect(Frozen):
    """What happens to one symbol, in quote.

    `cancelled`: resting buys that end and are not placed again. `replaced`: resting buys that get another size or
    level. `freed`: what these buys hold and give back. `taken`: what they hold afterwards.
    """

    symbol: str
    effect: Effect
    allocated_before: Decimal
    allocated_after: Decimal
    inventory: Decimal  # what the symbol's base cost
    cancelled: int = 0
    replaced: int = 0
    freed: Decimal = ZERO
    taken: Decimal = ZERO

    @property
    def is_quiet(self) -> bool:
        """Whether nothing changes."""
        moved = self.allocated_before != self.allocated_after
        return self.effect is Effect.FOLLOWS and not (moved or self.cancelled or self.replaced)

    def as_json(self) -> dict[str, Any]:
        """The effect as JSON values, amounts as text."""
        return {
            name: plain(value) if isinstance(value, Decimal) else value for name, value in self.model_dump().items()
        }

    def __str__(self) -> str:
        parts = []
        if self.effect is Effect.STARTS:
            parts.append("starts")
        elif self.effect is Effect.RETIRES:
            parts.append(f"leaves: it buys nothing and sells what it holds, which cost {self.inventory:,.2f}")
        elif self.effect is Effect.SOME_GRIDS:
            parts.append(
                "some of its grids change; what those that go hold, "
                f"which cost {self.inventory:,.2f}, is sold at their levels"
            )
        elif self.effect is Effect.NEW_GRID:
            parts.append(f"gets a new grid; what it holds, which cost {self.inventory:,.2f}, is sold at the old levels")
        if self.cancelled:
            parts.append(f"{self.cancelled} buys are cancelled")
        if self.replaced:
            parts.append(f"{self.replaced} buys are replaced")
        if self.cancelled or self.replaced:
            parts.append(f"{self.freed:,.2f} are freed" + (f", {self.taken:,.2f} taken" if self.taken else ""))
        if self.allocated_before != self.allocated_after:
            parts.append(f"allocation {self.allocated_before:,.2f} → {self.allocated_after:,.2f}")
        return f"{self.symbol}: {'; '.join(parts) or 'nothing changes'}"


def effect_of(facts: SymbolFacts, wanted: Settings, global_free: int, market: Market | None = None) -> SymbolEffect:
    """What the settings do to the symbol. `global_free`: units that the pool can grant beside its buys.

    Follows the rules of a tick, without the exchange; prices as the orders have them. `market`: the exchange's filters;
    None where they are not known: then amounts are before the lot step.
    """
    own = wanted.symbols.get(facts.symbol)
    common: dict[str, Any] = {
        "symbol": facts.symbol,
        "allocated_before": from_units(facts.allocated),
        "allocated_after": from_units(facts.allocated_after),
        "inventory": from_units(facts.used),
        "effect": Effect.FOLLOWS,
    }
    kept = kept_grids(facts.grid, own) if own else []
    if own is None or facts.grid is None or not kept:
        old = bool(facts.buys or facts.used)
        effect = Effect.RETIRES if own is None else Effect.NEW_GRID if facts.grid or old else Effect.STARTS
        common["effect"] = effect
        return SymbolEffect(cancelled=len(facts.buys), freed=from_units(facts.reserved), **common)
    ids = {grid.grid_id for grid, _ in kept}
    stay = facts.model_copy(update={"buys": tuple(buy for buy in facts.buys if grid_of(buy.cell_key) in ids)})
    free = global_free + facts.reserved - stay.reserved
    after = _resized(stay, _wanted_units(stay, own, wanted, market), wanted, free)
    before = {buy.client_id: buy.units_left for buy in facts.buys}
    moved = [name for name, units in before.items() if after.get(name) != units]
    if not len(kept) == len(facts.grid.each) == len(own.each_grid):
        leaving = sum(cell.used_units for cell in facts.cells if cell.grid_id not in ids)
        common |= {"effect": Effect.SOME_GRIDS, "inventory": from_units(leaving)}
    return SymbolEffect(
        cancelled=sum(name not in after for name in moved),
        replaced=sum(name in after for name in moved),
        freed=from_units(sum(before[name] for name in moved)),
        taken=from_units(sum(after.get(name, 0) for name in moved)),
        **common,
    )


def _resized(facts: SymbolFacts, goal: Mapping[str, int], wanted: Settings, global_free: int) -> dict[str, int]:
    """Units by client id of the buys that are left once the planner's rule finds nothing more to resize.

    `goal`: units that each buy should hold.
    """
    units = {buy.client_id: buy.units_left for buy in facts.buys}
    nearest_first = sorted(facts.buys, key=lambda buy: -buy.price)
    free = global_free
    for _ in range(_ROUNDS):
        left = [buy for buy in nearest_first if buy.client_id in units]
        candidates = [_candidate(buy, units[buy.client_id], goal) for buy in left if not buy.filled]
        fixed = [_candidate(buy, units[buy.client_id], goal) for buy in left if buy.filled]
        committed = facts.used + sum(units.values())
        limits = Limits(
            symbol_free=max(facts.allocated_after - committed, 0),
            global_free=max(free, 0),
            allocated=facts.allocated_after,
            used=facts.used,
            committed=committed,
            resize_tolerance=wanted.resize_tolerance,
        )
        found = resize(candidates, limits, limits.symbol_free, limits.global_free, 0, fixed)
        if not found.cancel:
            break
        for client_id in found.cancel:
            free += units.pop(client_id)
            if client_id in found.resized:
                units[client_id] = goal[client_id]
                free -= goal[client_id]
    return units


def _candidate(buy: Intent, units: int, goal: Mapping[str, int]) -> Candidate:
    return Candidate(buy.client_id, AssumedBuy(buy.qty, units, buy.filled), goal[buy.client_id])


def _wanted_units(facts: SymbolFacts, own: SymbolSettings, wanted: Settings, market: Market | None) -> dict[str, int]:
    """Units that each buy should hold, by client id."""
    fee = market.taker_fee if market else wanted.exchange.taker_fee

    def units(price: Decimal, qty: Decimal) -> int:
        return reserve_units(price, market.qty(qty) if market else qty, fee)

    goal: dict[str, int] = {}
    for grid, settings in kept_grids(facts.grid, own):
        buys = [buy for buy in facts.buys if grid_of(buy.cell_key) == grid.grid_id]
        weights = settings.cell_weights(grid.first_price)
        number = {cell.key: cell.index - grid.first_index for cell in facts.cells}
        size = configured_size(settings) or _size_now(facts, grid, weights, own.part_of(grid.name), fee)
        if size is None:
            goal |= dict.fromkeys((buy.client_id for buy in buys), 0)
            continue
        goal |= {
            buy.client_id: units(buy.price, size.weighted(weights.of(number.get(buy.cell_key, 0))).qty(buy.price))
            for buy in buys
        }
    return goal


def _size_now(facts: SymbolFacts, grid: Grid, weights: CellWeights, share: Decimal, fee: Decimal) -> Size | None:
    """The size of a cell with weight 1 of one grid, by the new allocation; None where nothing is left."""
    assert facts.grid is not None
    cells = [cell for cell in facts.cells if grid.has(cell)]
    whole = from_units(facts.allocated_after), from_units(facts.used)
    allocated, used = grid_money(*whole, facts.grid, cells, facts.cells, share)
    empty = (cell for cell in cells if holds_nothing(cell))
    without = sum((weights.of(cell.index - grid.first_index) for cell in empty), ZERO)
    return Size.of_quote(cell_money(allocated, used, weights.total, without, fee))


class Published(Frozen):
    """Settings put in force: their version, the symbols that retire from now on, and how the pot is shared."""

    version: int
    retiring: tuple[str, ...]
    rebalance: RebalanceReport


def buys_of(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """The buys among journalled orders."""
    return tuple(intent for intent in intents if intent.side is Side.BUY)


class Stake(Frozen):
    """What hangs on the settings in force: money, orders, and the workers that hold connections by them."""

    committed: Decimal
    orders: int
    workers: tuple[str, ...]


def refused_changes(changes: Sequence[FieldChange], stake: Stake) -> list[Problem]:
    """The changes that are not possible now, each with the reason."""
    found = []
    for change in changes:
        if change.field not in MUST_AGREE:
            continue
        value = f"{json.dumps(change.before)} → {json.dumps(change.after)}"
        if change.field in _BY_MONEY and (stake.committed or stake.orders):
            rule = (
                f"cannot change while {plain(stake.committed)} is committed and {stake.orders} orders are "
                "open: they belong to the value in force"
            )
            remedy = "Set it back; or stop, sell everything and then change it; or use another `account`"
        elif stake.workers:
            rule = f"cannot change while workers run ({', '.join(stake.workers)}): their connections belong to it"
            remedy = "Stop the workers first, then start them with the new file"
        else:
            continue
        found.append(Problem(change.field, value, rule, remedy))
    return found
