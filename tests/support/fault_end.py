"""Checks after the faults: orders follow allocations, and removed symbols and earlier grids leave nothing behind."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from tasks.base.errors import RejectReason
from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Market, Side
from tasks.exchange.order_ids import Purpose, grid_of, parse_order_id
from tasks.funds import store as funds_store
from tasks.funds.models import FundsStatus, TraderAllocation
from tasks.grid.cells import has_lot
from tasks.grid.levels import configured_size, kept_grids
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.plan_models import IdleReason
from tasks.grid.sizing import amounts, holds_nothing, reserve_units, sized
from tasks.ledger.rules import total
from tasks.orders.models import Intent, IntentState
from tasks.settings.grids import GridSettings, SeveralSettings
from tasks.tick.desk import Desk
from tasks.tick.grid_change import is_dust, is_empty
from tasks.tick.models import TickReport
from tasks.tick.slots import cell_of
from tests.support.binance.record import Record, unseen_trades
from tests.support.outbox import booked_fills

DUST = Decimal(6)  # quote; with 5 or more it could be sold
MOST_FOR_A_BNB = Decimal(400)  # quote
SELLING = (CellState.HOLDING, CellState.SELLING)
BARRED = (IdleReason.MAX_ORDERS, IdleReason.RESERVE)
NEARLY = Decimal("0.998")  # ask and last price differ


@dataclass(frozen=True)
class Standing:
    """One symbol's records in Redis, and its price."""

    symbol: str
    share: TraderAllocation
    grid: Grid | None
    cells: Mapping[str, Cell]
    intents: Mapping[str, Intent]
    slots: Mapping[str, int]
    price: Decimal

    @property
    def own(self) -> list[Cell]:
        """Cells of the grid in force, nearest to the price first."""
        cells = [cell for cell in self.cells.values() if self.grid and self.grid.has(cell)]
        return sorted(cells, key=lambda cell: (abs(cell.buy_price - self.price), cell.key))


async def standing_of(desk: Desk, share: TraderAllocation, price: Decimal) -> Standing:
    """Read the records of `symbol`."""
    redis, keys, symbol = desk.redis, desk.keys, share.symbol
    grid = await redis.get(keys.grid(symbol))
    cells = sorted((await redis.hgetall(keys.cells(symbol))).items())
    intents = sorted((await redis.hgetall(keys.intents(symbol))).items())
    return Standing(
        symbol=symbol,
        share=share,
        grid=Grid.model_validate_json(grid) if grid else None,
        cells={str(key): Cell.model_validate_json(text) for key, text in cells},
        intents={str(key): Intent.model_validate_json(text) for key, text in intents},
        slots={str(slot): int(cycle) for slot, cycle in (await redis.hgetall(keys.slots(symbol))).items()},
        price=price,
    )


async def still_to_do(desk: Desk, prices: Mapping[str, Decimal], markets: Mapping[str, Market]) -> list[str]:
    """Every way in which orders do not follow settings and allocations yet, as text.

    `prices`, `markets`: of every symbol that was ever traded.
    """
    status = await funds_store.status(desk.redis, keys=desk.keys, symbols=sorted(markets))
    found = _of_the_pot(desk, status)
    for symbol, share in status.symbols.items():
        standing = await standing_of(desk, share, prices[symbol])
        found += _of_money(standing)
        if symbol in desk.settings.symbols:
            found += _of_sizes(desk, standing, markets[symbol], status)
            found += _of_the_grid(desk, standing)
            found += _of_refusals(standing, markets[symbol], await _idle_cells(desk, symbol))
        else:
            found += _of_leaving(standing)
        found += _of_slots(standing)
    return found


def _of_the_pot(desk: Desk, status: FundsStatus) -> list[str]:
    found = []
    allocated = sum(share.allocated_units for share in status.symbols.values())
    if status.pool_units != desk.allocator.pool_units:
        found.append(f"the pool is {status.pool_units}, not {desk.allocator.pool_units}")
    if allocated > max(status.pool_units, status.used_units):
        found.append(f"{allocated} allocated of a pool of {status.pool_units} with {status.used_units} used")
    for symbol, own in desk.allocator.shares.items():
        share = status.symbols[symbol]
        if not share.registered or share.cap_units != own.cap_units:
            found.append(f"{symbol}: its share is not that of the settings: {share}")
    return found


def _of_money(standing: Standing) -> list[str]:
    """The inventory alone may cost more than the allocation: an order may fill before it is cancelled."""
    share = standing.share
    if share.reserved_units and share.committed_units > share.allocated_units:
        return [f"{share.symbol}: {share.committed_units} committed above its allocation of {share.allocated_units}"]
    return []


def _of_sizes(desk: Desk, standing: Standing, market: Market, status: FundsStatus) -> list[str]:
    """Every buy without a fill has the size of the sizing rule, or cannot have it yet."""
    wanted, share = _wanted(desk, standing, market), standing.share
    free, tolerance = min(share.free_units, status.free_units), desk.settings.resize_tolerance
    found = []
    for client_id, intent in standing.intents.items():
        cell = standing.cells[intent.cell_key]
        if intent.filled and _is_left_behind(standing, cell, intent, market):
            found.append(f"{client_id}: the price has left its cell, which holds enough to sell")
        if intent.side is Side.SELL or intent.filled or intent.state is not IntentState.OPEN:
            continue
        if standing.grid is None or not standing.grid.has(cell):
            found.append(f"{client_id}: buys for a grid that is over")
        elif not intent.post_only or cell.buy_price >= standing.price:
            continue
        elif cell.key not in wanted:
            found.append(f"{client_id}: buys without money for it")
        else:
            should = reserve_units(cell.buy_price, wanted[cell.key], market.taker_fee)
            off = intent.units_left - should
            if abs(off) > tolerance * should and (off > 0 or -off <= free):
                found.append(f"{client_id}: reserves {intent.units_left}, its size is {should}")
    return found


def _is_left_behind(standing: Standing, cell: Cell, intent: Intent, market: Market) -> bool:
    """Whether a partly filled buy should be cancelled, so that its cell sells what it got."""
    middle = (cell.buy_price + cell.sell_price) / 2
    sellable = has_lot(cell, market)
    return intent.side is Side.BUY and standing.price > middle and sellable


def _wanted(desk: Desk, standing: Standing, market: Market) -> Mapping[str, Decimal]:
    """The sizing rule: cell key → base amount."""
    found: dict[str, Decimal] = {}
    for grid, settings in kept_grids(standing.grid, desk.settings.symbols[standing.symbol]):
        found |= _wanted_in(desk, standing, grid, settings, market)
    return found


def _wanted_in(
    desk: Desk, standing: Standing, grid: Grid, settings: GridSettings, market: Market
) -> Mapping[str, Decimal]:
    """Of one grid: its part of the allocation, less what its cells hold and its part of what other cells hold."""
    share, symbol = standing.share, desk.settings.symbols[standing.symbol]
    own = [cell for cell in standing.own if cell.grid_id == grid.grid_id]
    weights = settings.cell_weights(grid.first_price)
    weights_of = (
        {name: each.weight for name, each in symbol.grids.items()} if isinstance(symbol, SeveralSettings) else {}
    )
    part = weights_of[grid.name] / sum(weights_of.values()) if weights_of else Decimal(1)
    weight = {cell.key: weights.of(cell.index - grid.first_index, entry=cell.entry) for cell in own}
    empty = [cell for cell in own if holds_nothing(cell)]
    wanting = [(cell, cell.buy_price, weight[cell.key]) for cell in empty if cell.buy_price < standing.price]
    size = configured_size(settings)
    outside = share.used_units - sum(cell.used_units for cell in standing.own)
    used = sum(cell.used_units for cell in own) + outside * part
    without = sum((weight[cell.key] for cell in empty), ZERO)
    allocated = from_units(share.allocated_units) * part
    if size is not None:
        return sized(size, wanting, market)
    return amounts(wanting, market, allocated, used / 10**8, weights.total, without)


def _of_the_grid(desk: Desk, standing: Standing) -> list[str]:
    """The grid is the configured one, with all cells. Earlier grids have only cells that still sell."""
    grid, symbol = standing.grid, standing.symbol
    kept = kept_grids(grid, desk.settings.symbols[symbol])
    if grid is None or not len(kept) == len(grid.each) == len(desk.settings.symbols[symbol].each_grid):
        return [f"{symbol}: trades by other grids than those of the settings"]
    found = []
    for each, _ in kept:
        levels = list(pairwise(each.levels))
        own = [cell for cell in standing.own if cell.grid_id == each.grid_id]
        if len(own) != len(levels):
            found.append(f"{symbol} {each.name}: {len(own)} cells between {len(levels)} pairs of levels")
        for cell in own:
            if cell.state is CellState.IDLE and (cell.buy_price, cell.sell_price) not in levels:
                found.append(f"{cell.key}: buys at {cell.buy_price}, which is no level of its grid")
    for cell in standing.cells.values():
        if not grid.has(cell) and (is_empty(cell) or is_dust(cell) or cell.state not in SELLING):
            found.append(f"{cell.key}: {cell.state} in a grid that is over")
    return found


async def _idle_cells(desk: Desk, symbol: str) -> Mapping[str, str]:
    """Cell key → why it has no order, by the symbol's newest tick."""
    text = await desk.redis.get(desk.keys.last_tick(symbol))
    return TickReport.model_validate_json(text).idle if text else {}


def _of_refusals(standing: Standing, market: Market, idle: Mapping[str, str]) -> list[str]:
    """No cell waits because the exchange's filters refused it; one that waits for room waits for nothing else.

    No cell of a range is retired.
    """
    grid = standing.grid
    found = [
        f"{key}: retired, and it is in the range of its grid"
        for key, cell in sorted(standing.cells.items())
        if idle.get(key) == IdleReason.RETIRED and grid is not None and grid.has(cell)
    ]
    found += [
        f"{key}: refused by filters that can be read"
        for key, cell in sorted(standing.cells.items())
        if idle.get(key) == IdleReason.REJECTED and cell.refusal is RejectReason.FILTER
    ]
    if IdleReason.MAX_ORDERS in idle.values() and len(standing.intents) < (market.max_orders or 0):
        found.append(f"{standing.symbol}: {len(standing.intents)} of {market.max_orders} orders, and cells wait")
    return found


def _of_leaving(standing: Standing) -> list[str]:
    """A symbol that left has no records. A retiring symbol has only what it can still sell."""
    share, symbol = standing.share, standing.symbol
    if not share.registered:
        has = [*standing.cells, *standing.intents]
        return [f"{symbol}: left, and still has {has}"] if has or share.committed_units else []
    busy = [cell for cell in standing.cells.values() if not is_empty(cell)]
    found = [f"{cell.key}: {cell.state} in a symbol that retires" for cell in busy if not _sells(cell)]
    if not busy or share.liquidate:
        found.append(f"{symbol}: should have left")
    return found


def _sells(cell: Cell) -> bool:
    return cell.state in SELLING and cell.qty > 0


def _of_slots(standing: Standing) -> list[str]:
    """Order slots exist for live cells and the present grid only; each earlier grid has one number."""
    in_force = standing.grid.ids if standing.grid and standing.share.registered else ()
    cells = [cell for slot in standing.slots if (cell := cell_of(slot))]
    gone = sorted({cell for cell in cells if cell not in standing.cells and grid_of(cell) not in in_force})
    return [f"{cell}: slots of a cell that has gone" for cell in gone]


def can_trade(desk: Desk, status: FundsStatus) -> bool:
    """Whether some configured symbol could buy a cell: what it holds may cost more than it may have now."""
    for symbol, own in desk.settings.symbols.items():
        sizes = [configured_size(grid) for grid in own.each_grid.values()]
        least = min(Decimal(20) if size is None else size.quote or Decimal(500) for size in sizes)
        share = status.symbols[symbol]
        if share.paused and share.liquidate:
            continue  # an operator sold it while it was in the settings: it buys again once it is resumed
        if from_units(min(share.allocated_units - share.used_units, status.free_units)) > least * 2:
            return True
    return False


async def is_below_its_grids(desk: Desk, prices: Mapping[str, Decimal]) -> bool:
    """Whether the price is below every level of every symbol: nothing can be bought, and what is held waits."""
    for symbol in desk.settings.symbols:
        cells, idle = await _all_cells(desk, symbol), await _idle_cells(desk, symbol)
        above = sum(_is_above(cell, idle, prices[symbol]) for cell in cells)
        if above < sum(cell.state is not CellState.SELLING for cell in cells):
            return False
    return True


async def is_out_of_reach(desk: Desk, prices: Mapping[str, Decimal]) -> bool:
    """Whether every cell of every symbol has an order, or can have none at this price: only the price brings more.

    Such a grid has levels farther apart than the last candles swing, or an order that they fill in part.
    """
    for symbol in desk.settings.symbols:
        cells, idle = await _all_cells(desk, symbol), await _idle_cells(desk, symbol)
        journal = set(map(str, await desk.redis.hkeys(desk.keys.intents(symbol))))
        without = [cell for cell in cells if cell.order_id not in journal]
        if not all(idle.get(cell.key) in BARRED or _is_above(cell, idle, prices[symbol]) for cell in without):
            return False
    return True


async def _all_cells(desk: Desk, symbol: str) -> list[Cell]:
    return [Cell.model_validate_json(text) for text in await desk.redis.hvals(desk.keys.cells(symbol))]


def _is_above(cell: Cell, idle: Mapping[str, str], price: Decimal) -> bool:
    """Whether the cell has no order because its level is above the price, as its tick says and the exchange too."""
    return idle.get(cell.key) == IdleReason.ABOVE_PRICE and cell.buy_price > price * NEARLY


def filled_whole(record: Record) -> set[int]:
    """Ids of the orders that have filled in full: the cell of each has another order to place."""
    return {order.order_id for order in record.orders if order.status == "FILLED"}


async def lost_from_sight(desk: Desk, symbols: Sequence[str], record: Record, unlisted: Collection[str]) -> Decimal:
    """The most quote that base may have cost which left its cell without a trade.

    Remainders are moved to other cells or written off, base pays fees of other symbols, and base may be
    missing. The exchange's record shows none of it. There the quote stays in the cell that bought the base.
    The trades of `unlisted` symbols that nobody could read in time are in no book at all.
    """
    moves, gone = 0, ZERO
    for symbol in unlisted:
        seen = map(str, await desk.redis.zrange(desk.keys.seen(symbol), 0, -1))
        unread = [one for one in unseen_trades(record, seen, symbol) if one.side == "BUY"]
        gone += total(one.price * one.qty + (one.fee if one.fee_asset == "USDT" else 0) for one in unread)
    for symbol in symbols:
        moves += sum(str(one).startswith("dust:") for one in await desk.redis.zrange(desk.keys.seen(symbol), 0, -1))
        fills = await booked_fills(desk.redis, desk.keys, symbol)
        gone += total(fill.basis for fill in fills if not fill.client_id and fill.basis > 0)
    fees = sum((trade.fee for trade in record.trades if trade.fee_asset == "BNB"), Decimal(0))
    return DUST * moves + fees * MOST_FOR_A_BNB + gone


async def unreadable_fees(desk: Desk, record: Record, unlisted: Collection[str]) -> dict[str, Decimal]:
    """By coin: fees of trades of `unlisted` symbols that nobody read in time. No book says why the coin is missing."""
    fees: dict[str, Decimal] = {}
    for symbol in unlisted:
        seen = map(str, await desk.redis.zrange(desk.keys.seen(symbol), 0, -1))
        for trade in unseen_trades(record, seen, symbol):
            fees[trade.fee_asset] = fees.get(trade.fee_asset, ZERO) + trade.fee
    return fees


def exits_unasked(record: Record, asked: Mapping[str, Sequence[tuple[int, int]]]) -> list[str]:
    """Client ids of market sales outside every time span (ms) in `asked` of their symbol."""
    spans = {symbol.replace("/", ""): times for symbol, times in asked.items()}
    return [
        order.client_id
        for order in record.orders
        if (said := parse_order_id(order.client_id)) is not None
        and said.purpose is Purpose.EXIT
        and not any(since <= order.placed_ms <= until for since, until in spans.get(order.symbol, ()))
    ]
