"""Rebuilds a symbol's records from the exchange's orders and trades and from the configuration. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from math import gcd
from typing import NamedTuple

from tasks.base.errors import ExchangeUnavailable
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import OrderId, grid_of, own_order_id
from tasks.grid.levels import build_cells, grid_id, level_of, levels, unchecked_grid
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.sizing import reserve_units
from tasks.grid.window import moved
from tasks.ledger.booking import with_own_base, with_return, with_running_sums
from tasks.ledger.models import Book, Fill, QueuedFee
from tasks.orders.models import Evidence, Intent, IntentState
from tasks.settings.grids import GridSettings, StartMode, SymbolSettings, TrailLimits
from tasks.settings.grids.common import ONLY
from tasks.tick.fold import fold
from tasks.tick.payers import cover
from tasks.tick.slots import compacted, order_slot

_NEARBY_TICKS = range(-3, 4)
_NO_GRID = "00000"


@dataclass
class Rebuilt:
    """All records of the symbol."""

    grid: Grid | None  # None where all orders belong to earlier grids
    cells: dict[str, Cell]
    intents: dict[str, Intent]
    slots: dict[str, int]
    book: Book
    fills: list[Fill]  # oldest first
    fees: list[QueuedFee] = field(default_factory=list)  # that no cell of their own order paid
    uncovered: dict[str, Decimal] = field(default_factory=dict)  # see Folded


def own_orders(
    orders: Iterable[Order], account: str, old_grids: Mapping[str, str] | None = None
) -> dict[str, tuple[OrderId, Order]]:
    """This account's orders by exchange id, oldest first. `old_grids`: see `own_order_id`."""
    named = ((own_order_id(order.client_id, account, old_grids), order) for order in orders)
    ours = [(name, order) for name, order in named if name is not None]
    return {order.exchange_id: (name, order) for name, order in sorted(ours, key=lambda pair: pair[1].at_ms)}


def first_price(
    symbol: str, settings: GridSettings, market: Market, ours: Mapping[str, tuple[OrderId, Order]], grid: str = ONLY
) -> Decimal | None:
    """The price that a `range_pct` grid was built around: the price whose levels match the most orders.

    Orders of an earlier tick size count where they are within one tick. None where the exchange lists no order of the
    configured grid. `grid`: its name among several.
    """
    wanted = grid_id(symbol, settings, name=grid)
    seen = [(name, order) for name, order in ours.values() if name.grid_id == wanted]
    if not seen:
        return None
    widest_tick = _widest_tick(order.price for _, order in seen)
    guesses: dict[Decimal, _Fit] = {}
    for name, order in seen:
        level = name.level + (name.side is Side.SELL)
        factor = level_of(settings, Decimal(1), level) if settings.is_relative else Decimal(1)
        middle = market.price(order.price / factor) if factor else order.price
        for ticks in _NEARBY_TICKS if settings.is_relative else (0,):
            guess = middle + ticks * market.tick_size
            if guess > 0 and guess not in guesses:
                guesses[guess] = _fit(guess, settings, market, seen, widest_tick)
    best = max(guesses.values())
    return min(guess for guess, fit in guesses.items() if fit == best)


def _where_it_was(
    grid: Grid, settings: GridSettings, market: Market, ours: Mapping[str, tuple[OrderId, Order]]
) -> Grid:
    """The grid with its range where the newest order was; nearest to its start, as that alone is not certain."""
    own = [name.level for name, _ in ours.values() if name.grid_id == grid.grid_id]
    if settings.trail_limits == TrailLimits() or not own:
        return grid
    newest, most = own[-1], len(grid.indices) - 1
    at = min(max(grid.first_index, newest - most), newest)
    placed = grid if at == grid.first_index else moved(grid, at, settings, market, grid.created_ms)
    return placed.model_copy(update={"covered": (min(*own, at), max(*own, at + most))})


class _Fit(NamedTuple):
    """How well levels explain the orders; the larger, the better.

    `exact`: orders at their level. `near`: orders at most one tick away, because the tick size was another then.
    `closeness`: 0 less how far those are away in all.
    """

    exact: int
    near: int
    closeness: Decimal


def _fit(
    guess: Decimal,
    settings: GridSettings,
    market: Market,
    seen: Sequence[tuple[OrderId, Order]],
    widest_tick: Decimal,
) -> _Fit:
    prices = levels(settings, guess, market)
    most = max(market.tick_size, min(widest_tick, min(high - low for low, high in pairwise(prices)) / 4))
    ordered = [(level_of(settings, guess, name.level + (name.side is Side.SELL)), order.price) for name, order in seen]
    away = [abs(market.price(level) - price) for level, price in ordered if level is not None]
    near = [distance for distance in away if 0 < distance <= most]
    return _Fit(sum(distance == 0 for distance in away), len(near), -sum(near, ZERO))


def _widest_tick(prices: Iterable[Decimal]) -> Decimal:
    """The largest tick size that all these prices may have been rounded to."""
    scale = Decimal(10) ** 12
    return gcd(*(int(price * scale) for price in prices)) / scale


def last_grid(symbol: str, cells: Iterable[Cell], market: Market, opened_ms: int) -> Grid:
    """The grid of a symbol that left the settings: the prices of its orders. It is only sold by it.

    Its id is that of no configured grid, so that the symbol gets a new one where it comes back.
    """
    prices = {price for cell in cells for price in (cell.buy_price, cell.sell_price)}
    low, tick = min(prices), market.tick_size
    return Grid(
        grid_id=_NO_GRID,
        symbol=symbol,
        levels=tuple(sorted(prices)),
        first_price=low,
        created_ms=opened_ms,
        tick_size=tick,
    )


def rebuild(
    symbol: str,
    settings: SymbolSettings | None,
    market: Market,
    orders: Sequence[Order],
    trades: Sequence[Trade],
    allocated: Decimal,
    coin_prices: Mapping[str, Decimal],
    account: str,
    old_grids: Mapping[str, str] | None = None,
) -> Rebuilt | None:
    """The symbol's records before Redis lost them; None where the exchange lists no order of this account.

    `settings`: None where the symbol left them. Orders of other accounts are left out. With `old_grids`, orders whose
    ids have no account tag are included.
    `coin_prices`: of every third coin that fees were paid in. `allocated`: in quote; returns are computed on it. Raises
    ExchangeUnavailable where the exchange does not list every trade of an order yet: each fill must be booked.
    """
    ours = own_orders(orders, account, old_grids)
    if not ours:
        return None
    opened_ms = min(order.at_ms for _, order in ours.values())
    grids: list[Grid] = []
    cells: dict[str, Cell] = {}
    for called, own in settings.each_grid.items() if settings is not None else ():
        price = first_price(symbol, own, market, ours, called)
        if price is None:
            continue
        # It was in force: the first tick checks it.
        found = unchecked_grid(symbol, own, market, price, opened_ms, called)
        grids.append(_where_it_was(found, own, market, ours))
        # The first price of a grid between fixed prices is unknown, so no cell buys at the market price.
        start = own.start if own.is_relative else StartMode.FLAT
        cells |= {cell.key: cell for cell in build_cells(grids[-1], start)}
    grid = grids[0].with_others(grids[1:]) if grids else None
    cells |= cells_of_other_grids(ours, set(cells))
    if settings is None:
        grid = last_grid(symbol, cells.values(), market, opened_ms)
    result = Rebuilt(grid, cells, {}, {}, Book(symbol=symbol, opened_ms=opened_ms), [])
    by_order: dict[str, list[Trade]] = defaultdict(list)
    for trade in sorted(trades, key=lambda trade: (trade.at_ms, trade.trade_id)):
        by_order[trade.exchange_id].append(trade)
    for exchange_id, (name, order) in sorted(ours.items(), key=by_cell):
        replay(result, name, order, by_order[exchange_id], market, coin_prices)
    cover_all(result, market)
    result.fills = with_running_sums(by_time(result.fills), Book(symbol=symbol))
    for fill in result.fills:
        result.book = with_return(result.book, fill, allocated)
    current = grid.ids if grid else ()
    result.cells = {key: cell for key, cell in result.cells.items() if cell.grid_id in current or _holds(cell)}
    gone, kept = compacted(result.slots, list(result.cells), current)
    result.slots = {slot: cycle for slot, cycle in result.slots.items() if slot not in gone} | kept
    return result


def cover_all(result: Rebuilt, market: Market) -> list[str]:
    """Let other cells give what orders sold beyond their own cells, once all are replayed: the keys of those cells."""
    touched: list[str] = []
    for number, fill in enumerate(result.fills):
        excess = result.uncovered.get(fill.trade_id)
        if excess is not None:
            result.book = with_own_base(result.book, -excess)  # which the replay had taken for the owner's
            result.fills[number], keys, _ = cover(result, fill, excess, market)
            touched += keys
    return touched


def by_time(fills: Iterable[Fill]) -> list[Fill]:
    """Oldest first."""
    return sorted(fills, key=lambda fill: (fill.at_ms, fill.trade_id))


def by_cell(item: tuple[str, tuple[OrderId, Order]]) -> tuple[str, int, int]:
    """Sort key: by cell, then by cycle, the buy before the sell."""
    name = item[1][0]
    return name.cell_key, name.cycle, int(name.side is Side.SELL)


def _holds(cell: Cell) -> bool:
    return cell.order_id is not None or cell.qty > 0 or cell.basis != 0


def cells_of_other_grids(ours: Mapping[str, tuple[OrderId, Order]], current_cells: set[str]) -> dict[str, Cell]:
    """Cells of earlier grids, with the prices of their orders. Sell price without a sell order: buy price × 1.01."""
    prices: dict[str, dict[Side, Decimal]] = defaultdict(dict)
    for name, order in ours.values():
        if name.cell_key not in current_cells:
            prices[name.cell_key][name.side] = order.price
    cells = {}
    for key, seen in prices.items():
        buy = seen.get(Side.BUY) or seen[Side.SELL]
        cells[key] = Cell(
            key=key,
            grid_id=grid_of(key),
            index=int(key.rpartition(".")[2]),
            buy_price=buy,
            sell_price=seen.get(Side.SELL, buy * Decimal("1.01")),
        )
    return cells


def replay(
    result: Rebuilt,
    name: OrderId,
    order: Order,
    trades: Sequence[Trade],
    market: Market,
    coin_prices: Mapping[str, Decimal],
) -> None:
    """Fold one order's trades into the records, as a tick does."""
    listed = sum((trade.qty for trade in trades), ZERO)
    if listed < order.filled:
        what = f"{order.symbol}: the trades of order {order.exchange_id} add up to {listed} of {order.filled}"
        raise ExchangeUnavailable(f"{what}. The next tick reads them again")
    key, intent = name.cell_key, _intent(name, order, result.cells[name.cell_key], market)
    state = CellState.BUYING if name.side is Side.BUY else CellState.SELLING
    journalled = {"cycle": name.cycle, "state": state, "order_id": order.client_id}
    cells = {key: result.cells[key].model_copy(update=journalled)}
    evidence = {order.client_id: _evidence(order, trades)}
    journal = {order.client_id: intent}
    folded = fold(result.book, cells, journal, evidence, market, order.at_ms, 0, coin_prices, allocated=ZERO)
    result.book = folded.book
    result.cells |= folded.cells
    result.intents |= folded.intents
    result.fills += folded.fills
    result.fees += folded.fees
    result.uncovered |= folded.uncovered
    result.slots[order_slot(key, name.purpose)] = name.cycle


def _evidence(order: Order, trades: Sequence[Trade]) -> Evidence:
    """The order as evidence. An order that no longer rests has ended, filled or not."""
    if order.status is OrderStatus.OPEN:
        return Evidence(resting=order, trades=tuple(trades))
    ended = order.model_copy(update={"status": OrderStatus.CANCELLED})
    return Evidence(looked_up=True, found=ended, trades=tuple(trades))


def _intent(name: OrderId, order: Order, cell: Cell, market: Market) -> Intent:
    """The journal entry of the order when it was sent."""
    units = reserve_units(order.price, order.qty, market.taker_fee) if name.side is Side.BUY else 0
    return Intent(
        client_id=order.client_id,
        symbol=order.symbol,
        cell_key=name.cell_key,
        side=name.side,
        price=order.price,
        qty=order.qty,
        cycle=name.cycle,
        units=units,
        units_left=units,
        post_only=name.side is Side.BUY and order.price == cell.buy_price,
        created_ms=order.at_ms,
        state=IntentState.OPEN,
        exchange_id=order.exchange_id,
    )
