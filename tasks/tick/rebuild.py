"""Rebuilding a symbol's books from the exchange's orders and trades plus the configuration. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.base.errors import ExchangeUnavailable
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import OrderId, grid_of, own_order_id
from tasks.grid.cells import settled
from tasks.grid.levels import build_cells, build_grid, grid_id, levels
from tasks.grid.models import Cell, CellState, Grid
from tasks.grid.sizing import reserve_units
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import book_fill, with_return
from tasks.orders.models import Intent, IntentState
from tasks.settings.grids import StartMode, SymbolSettings, raw_levels
from tasks.tick.slots import order_slot

_NEARBY_TICKS = range(-3, 4)


@dataclass
class Rebuilt:
    """Everything that Redis should hold of the symbol."""

    grid: Grid | None  # None where the exchange knows orders of earlier grids only
    cells: dict[str, Cell]
    intents: dict[str, Intent]
    slots: dict[str, int]
    book: Book
    fills: list[Fill]  # oldest first


def own_orders(
    orders: Iterable[Order], account: str, old_grids: Mapping[str, str] | None = None
) -> dict[str, tuple[OrderId, Order]]:
    """This account's orders by exchange id, oldest first. `old_grids`: see `own_order_id`."""
    named = ((own_order_id(order.client_id, account, old_grids), order) for order in orders)
    ours = [(name, order) for name, order in named if name is not None]
    return {order.exchange_id: (name, order) for name, order in sorted(ours, key=lambda pair: pair[1].at_ms)}


def first_price(
    symbol: str, settings: SymbolSettings, market: Market, ours: Mapping[str, tuple[OrderId, Order]]
) -> Decimal | None:
    """The price a `range_pct` grid was set around: the one whose levels most of its orders lie on.

    None when no order of the configured grid is known.
    """
    wanted = grid_id(symbol, settings)
    seen = [(name, order) for name, order in ours.values() if name.grid_id == wanted]
    if not seen:
        return None
    factors = raw_levels(settings, Decimal(1))
    guesses: dict[Decimal, int] = {}
    for name, order in seen:
        level = name.level + (name.side is Side.SELL)
        middle = market.price(order.price / factors[level]) if settings.range_pct is not None else order.price
        for ticks in _NEARBY_TICKS if settings.range_pct is not None else (0,):
            guess = middle + ticks * market.tick_size
            if guess > 0 and guess not in guesses:
                guesses[guess] = _matches(guess, settings, market, seen)
    best = max(guesses.values())
    return min((guess for guess, count in guesses.items() if count == best), key=lambda guess: (guess, 0))


def _matches(guess: Decimal, settings: SymbolSettings, market: Market, seen: Sequence[tuple[OrderId, Order]]) -> int:
    prices = levels(settings, guess, market)
    return sum(prices[name.level + (name.side is Side.SELL)] == order.price for name, order in seen)


def rebuild(
    symbol: str,
    settings: SymbolSettings,
    market: Market,
    orders: Sequence[Order],
    trades: Sequence[Trade],
    allocated: Decimal,
    other_prices: Mapping[str, Decimal],
    account: str,
    old_grids: Mapping[str, str] | None = None,
) -> Rebuilt | None:
    """The symbol's state as it must have been; None when the exchange knows no order of this account.

    Orders of other accounts are left out. `old_grids`: given, orders whose ids have no account tag are taken too.
    Raises ExchangeUnavailable while the trades are behind the orders: no fill may be left out of the books.
    """
    ours = own_orders(orders, account, old_grids)
    if not ours:
        return None
    price = first_price(symbol, settings, market, ours)
    opened = min(order.at_ms for _, order in ours.values())
    grid, cells = None, {}
    if price is not None:
        grid = build_grid(symbol, settings, market, price, allocated, opened)
        # Between fixed prices nobody knows where the price stood at the start: then no cell buys at the market.
        start = settings.start if settings.range_pct is not None else StartMode.FLAT
        cells = {cell.key: cell for cell in build_cells(grid, start)}
    cells |= _cells_of_other_grids(ours, set(cells))
    result = Rebuilt(grid, cells, {}, {}, Book(symbol=symbol, opened_ms=opened), [])
    by_order: dict[str, list[Trade]] = defaultdict(list)
    for trade in sorted(trades, key=lambda trade: (trade.at_ms, trade.trade_id)):
        by_order[trade.exchange_id].append(trade)
    for exchange_id, (name, order) in sorted(ours.items(), key=_along_the_cells):
        _replay(result, name, order, by_order[exchange_id], market, other_prices)
    result.fills.sort(key=lambda fill: (fill.at_ms, fill.trade_id))
    for fill in result.fills:
        result.book = with_return(result.book, fill, allocated)
    current = grid.grid_id if grid else None
    result.cells = {key: cell for key, cell in cells.items() if cell.grid_id == current or _holds(cell)}
    return result


def _along_the_cells(item: tuple[str, tuple[OrderId, Order]]) -> tuple[str, int, int]:
    """Orders of a cell follow one another: by cycle, the buy before the sell."""
    name = item[1][0]
    return name.cell_key, name.cycle, int(name.side is Side.SELL)


def _holds(cell: Cell) -> bool:
    return cell.order_id is not None or cell.qty > 0 or cell.basis != 0


def _cells_of_other_grids(ours: Mapping[str, tuple[OrderId, Order]], known: set[str]) -> dict[str, Cell]:
    """Cells of earlier grids, priced by their own orders; without a sell of theirs, at the widest price they bought."""
    prices: dict[str, dict[Side, Decimal]] = defaultdict(dict)
    for name, order in ours.values():
        if name.cell_key not in known:
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


def _replay(
    result: Rebuilt,
    name: OrderId,
    order: Order,
    trades: Sequence[Trade],
    market: Market,
    other_prices: Mapping[str, Decimal],
) -> None:
    """Book the order's trades; then it rests on, or has ended and settles its cell."""
    listed = sum((trade.qty for trade in trades), ZERO)
    if listed < order.filled:
        what = (
            f"{order.symbol}: the trades of order {order.exchange_id} show {listed} of the {order.filled} it has filled"
        )
        raise ExchangeUnavailable(f"{what}; they are read again")
    key = name.cell_key
    units = reserve_units(order.price, order.qty, market.taker_fee) if name.side is Side.BUY else 0
    cell = result.cells[key].model_copy(update={"cycle": name.cycle})
    intent = Intent(
        client_id=order.client_id,
        symbol=order.symbol,
        cell_key=key,
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
    for trade in trades:
        before = cell
        price = other_prices.get(trade.fee_currency)
        result.book, cell, fill = book_fill(result.book, cell, trade, order.client_id, market, price)
        take = intent.take_for(trade.qty, cell.used_units - before.used_units)
        intent = intent.model_copy(
            update={
                "state": IntentState.PARTIAL,
                "units_left": intent.units_left - take,
                "filled": intent.filled + trade.qty,
                "quote_filled": intent.quote_filled + trade.price * trade.qty,
                "trade_ids": (*intent.trade_ids, trade.trade_id),
            }
        )
        result.fills.append(fill)
    result.slots[order_slot(key, name.purpose)] = name.cycle
    if order.status is OrderStatus.OPEN and intent.filled < order.qty:
        state = CellState.BUYING if name.side is Side.BUY else CellState.SELLING
        result.cells[key] = cell.model_copy(update={"state": state, "order_id": order.client_id})
        result.intents[order.client_id] = intent
    else:
        result.cells[key] = settled(cell, name.side, intent.filled, market)
