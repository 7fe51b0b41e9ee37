"""Orders that Redis lost when it went back in time: which they are, and the records with them booked. Pure.

An order is sent only once its slot holds its cycle. An order of ours above its slot therefore proves that Redis went
back to before it was journalled.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tasks.base.clock import DAY_MS
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind
from tasks.exchange.models import Market, Order, Trade
from tasks.exchange.order_ids import OrderId, grid_of, own_order_id
from tasks.funds.models import FeeCharge, FillMove, Write
from tasks.grid.models import Cell
from tasks.ledger.booking import with_return, with_running_sums
from tasks.orders.rules import TRADE_OVERLAP_MS
from tasks.tick.fees import charges
from tasks.tick.fold import Folded
from tasks.tick.models import SymbolState
from tasks.tick.rebuild import Rebuilt, by_cell, by_time, cells_of_other_grids, cover_all, replay
from tasks.tick.records import archived, fill_writes, writes
from tasks.tick.slots import EVERY_SLOT, order_slot

_CYCLES_FROM_MS = 1_577_836_800_000  # 2020-01-01: the seconds since then are a cycle of at most nine digits until 2051


@dataclass(frozen=True)
class Adopted:
    """The symbol's records with everything that Redis lost.

    `moves` and `ended`: of orders that the journal has, as a tick books them. `changes`: all records to write.
    `charges`: fees for the queues of the symbols that pay them.
    """

    moves: list[FillMove]
    ended: list[str]
    changes: list[Write]
    charges: list[FeeCharge]
    fills: int


def own_symbols(orders: Iterable[Order], account: str) -> set[str]:
    """The symbols of this account's orders."""
    return {order.symbol for order in orders if own_order_id(order.client_id, account) is not None}


def first_lost_ms(state: SymbolState) -> int:
    """The time (ms, our clock) before which no lost order was sent, with a margin for clock differences."""
    created_ms = state.grid.created_ms if state.grid else 0
    return max((state.last.at_ms if state.last else created_ms) - TRADE_OVERLAP_MS, 0)


def journalled_cycle(slots: Mapping[str, int], name: OrderId) -> int:
    """The highest cycle that the slot of an order ever held; -1 where there was none."""
    own = slots.get(order_slot(name.cell_key, name.purpose), -1)
    return max(own, slots.get(grid_of(name.cell_key), -1))


def lost_orders(
    orders: Iterable[Order], journal: Collection[str], slots: Mapping[str, int], account: str
) -> list[tuple[OrderId, Order]]:
    """This account's orders that the journal never had, each once; those of a cell one after another.

    `journal`: client ids of its entries.
    """
    found: dict[str, tuple[OrderId, Order]] = {}
    for order in orders:
        name = own_order_id(order.client_id, account)
        if name is not None and order.client_id not in journal and name.cycle > journalled_cycle(slots, name):
            found[order.exchange_id] = (name, order)
    return [pair for _, pair in sorted(found.items(), key=by_cell)]


def orders_to_look_up(trades: Iterable[Trade], orders: Iterable[Order], journal: Collection[str | None]) -> list[Trade]:
    """One trade of each order that is neither in `orders` nor in the journal (exchange ids), oldest first."""
    listed = {order.exchange_id for order in orders}
    found: dict[str, Trade] = {}
    for trade in trades:
        if trade.exchange_id not in listed and trade.exchange_id not in journal:
            found.setdefault(trade.exchange_id, trade)
    return list(found.values())


def orphan_orders(
    trades: Iterable[Trade], orders: Iterable[Order], journal: Collection[str], lost: Iterable[Order], account: str
) -> list[Order]:
    """This account's orders with trades that are not booked, which the journal does not have and Redis did not lose.

    `orders`: open and looked-up ones. `journal`: client ids of its entries.
    """
    traded, adopted = {trade.exchange_id for trade in trades}, {order.exchange_id for order in lost}
    found = {
        order.exchange_id: order
        for order in orders
        if order.exchange_id in traded - adopted
        and own_order_id(order.client_id, account) is not None
        and order.client_id not in journal
    }
    return list(found.values())


def ended_by_the_books(orphans: Iterable[Order], slots: Mapping[str, int], account: str) -> list[Order]:
    """Those that their slots have journalled last: the books have ended them, or have lost more than orders.

    An order below its slot is none: the books may call it never placed, and it came late.
    """
    named = [(own_order_id(order.client_id, account), order) for order in orphans]
    return [order for name, order in named if name is not None and name.cycle >= journalled_cycle(slots, name)]


def can_be_rebuilt(state: SymbolState, *, is_configured: bool) -> bool:
    """Whether orders and trades of the symbol alone explain its books.

    They do not where it left the settings, which say what its grid was; where its cells paid fees of other symbols; and
    where base is booked as missing.
    """
    return is_configured and not state.book.fee_base and not state.book.missing_base


def why_forgotten(state: SymbolState, keeps_ms: int | None, now_ms: int) -> str:
    """That the exchange lists less than the books cover; '' where it lists enough.

    `keeps_ms`: for how long the exchange lists orders and trades; None: for ever.
    """
    opened_ms = state.book.opened_ms or (state.grid.created_ms if state.grid else 0)
    if keeps_ms is None or opened_ms >= now_ms - keeps_ms:
        return ""
    since = f"{datetime.fromtimestamp(opened_ms / 1000, UTC):%Y-%m-%d}"
    return f"they go back to {since}, and the exchange lists trades of the last {keeps_ms // DAY_MS} days only"


def adopt(
    state: SymbolState,
    folded: Folded,
    lost: Sequence[tuple[OrderId, Order]],
    trades: Iterable[Trade],
    market: Market,
    coin_prices: Mapping[str, Decimal],
    allocated: Decimal,
    keys: Keys,
    now_ms: int,
) -> Adopted:
    """Book the lost orders on top of `folded`, the state after the orders that the journal has.

    `trades`: those not booked yet. Raises ExchangeUnavailable where they do not explain the lost orders yet.
    """
    symbol = market.symbol
    by_order: dict[str, list[Trade]] = defaultdict(list)
    for trade in trades:
        by_order[trade.exchange_id].append(trade)
    result = Rebuilt(state.grid, dict(folded.cells), dict(folded.intents), {}, folded.book, [])
    result.cells |= cells_of_other_grids(dict(_by_exchange_id(lost)), set(result.cells))
    for name, order in lost:
        replay(result, name, order, by_order[order.exchange_id], market, coin_prices)
    given = cover_all(result, market)
    result.fills = with_running_sums(by_time(result.fills), folded.book)
    for fill in result.fills:
        result.book = with_return(result.book, fill, allocated)
    touched = {*given, *(name.cell_key for name, _ in lost)}
    changes = [*writes(folded, keys, symbol), *_lost_writes(result, touched, keys, symbol)]
    changes += cycle_writes(result.cells, now_ms, keys, symbol)
    ended = [intent.client_id for intent in folded.ended]
    owed = charges([*folded.fees, *result.fees])
    return Adopted(list(folded.moves), ended, changes, owed, len(folded.fills) + len(result.fills))


def _by_exchange_id(lost: Sequence[tuple[OrderId, Order]]) -> Iterable[tuple[str, tuple[OrderId, Order]]]:
    return ((order.exchange_id, (name, order)) for name, order in lost)


def _lost_writes(result: Rebuilt, touched: Collection[str], keys: Keys, symbol: str) -> list[Write]:
    """The records of the lost orders. Written after those of the fold, so that theirs count."""
    ids = [one.order_id for key in touched if (one := result.cells[key]).order_id]
    out = [_hset(keys.cells(symbol), key, result.cells[key].model_dump_json()) for key in sorted(touched)]
    out += [_hset(keys.intents(symbol), one, result.intents[one].model_dump_json()) for one in sorted(ids)]
    out += [archived(keys, RecordKind.ORDER, result.intents[one].model_dump_json()) for one in sorted(ids)]
    out += [_hset(keys.slots(symbol), slot, str(cycle)) for slot, cycle in sorted(result.slots.items())]
    for fill in result.fills:
        out.append(Write(key=keys.seen(symbol), verb="ZADD", field=str(fill.at_ms), value=fill.trade_id))
        out += fill_writes(keys, fill)
    if result.fills:
        out.append(Write(key=keys.book(symbol), verb="SET", value=result.book.model_dump_json()))
    return out


def cycle_of_time(now_ms: int) -> int:
    """A cycle above all that were used before this moment."""
    return (now_ms - _CYCLES_FROM_MS) // 1000


def cycle_writes(cells: Mapping[str, Cell], now_ms: int, keys: Keys, symbol: str) -> list[Write]:
    """The writes that raise the cycle of every cell without an order above all that may have been used.

    An exchange lists no order for ever that was cancelled unfilled, so its id is not found; a cycle made of the time
    is above it, because no cell sends more than one order a second over the life of an account.
    """
    first = cycle_of_time(now_ms)
    out = [
        _hset(keys.cells(symbol), key, cell.model_copy(update={"cycle": first}).model_dump_json())
        for key, cell in sorted(cells.items())
        if cell.order_id is None and cell.cycle < first
    ]
    return [*out, _hset(keys.slots(symbol), EVERY_SLOT, str(first - 1))]


def _hset(key: str, field: str, value: str) -> Write:
    return Write(key=key, verb="HSET", field=field, value=value)
