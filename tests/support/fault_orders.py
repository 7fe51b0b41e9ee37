"""Checks of orders in a fault run: their ids name one price, and grids that earn in base sell no more than a cost."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.money import ZERO
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Market
from tasks.exchange.order_ids import Purpose, parse_order_id
from tasks.grid.models import Cell, Grid
from tasks.ledger.models import Book, Fill
from tasks.ledger.rules import earned_of, total
from tests.support.binance.record import Record, is_recoup
from tests.support.outbox import booked_fills

_FEES = Decimal("0.0015")
_NEAR = Decimal("0.005")
_SMALL = Decimal(12)  # quote: twice what the exchange takes at least


async def check_recoups(redis: RedisClient, keys: Keys, record: Record, market: Market) -> None:
    """Raise AssertionError where a sell of a grid that earns in base sold much more than its cost."""
    fills = await booked_fills(redis, keys, market.symbol)
    text = await redis.get(keys.book(market.symbol))
    paid_away = Book.model_validate_json(text).fee_basis if text else ZERO
    wrong = recouped_too_much(fills, record, market.lot_step, paid_away)
    assert wrong == [], f"sold more than the cost: {wrong}"


async def check_earned(redis: RedisClient, keys: Keys, symbol: str) -> None:
    """Raise AssertionError unless the cells hold as much base without a cost as their sells kept.

    Cells that paid fees of other symbols, or lost base, may have given of it: such a symbol is not looked at.
    """
    text = await redis.get(keys.book(symbol))
    book = Book.model_validate_json(text) if text else Book(symbol=symbol)
    if book.fee_base or book.missing_base:
        return
    fills = await booked_fills(redis, keys, symbol)
    if any(not fill.client_id for fill in fills):  # base that was written off, or left and came back
        return
    cells = [Cell.model_validate_json(one) for one in await redis.hvals(keys.cells(symbol))]
    held, kept = earned_of(cells), total(fill.earned for fill in fills)
    assert held == kept, f"{symbol}: the cells hold {held} that they earned, and sells kept {kept}"


async def check_listed_once(redis: RedisClient, keys: Keys, symbol: str) -> None:
    """Raise AssertionError where a fill stands twice among the newest ones."""
    fills = map(Fill.model_validate_json, await redis.lrange(keys.newest_fills(symbol), 0, -1))
    twice = [name for name, count in Counter(fill.trade_id for fill in fills).items() if count > 1]
    assert twice == [], f"{symbol}: fills are listed twice: {twice}"


async def check_names(redis: RedisClient, keys: Keys, record: Record, symbol: str) -> None:
    """Raise AssertionError where an id of a grid around a centre names the price of another centre."""
    text = await redis.get(keys.grid(symbol))
    grid = Grid.model_validate_json(text) if text else None
    wrong = misnamed(record, grid) if grid is not None and grid.spacing is not None else []
    assert wrong == [], f"ids that name two prices: {wrong}"


def recouped_too_much(fills: Sequence[Fill], record: Record, lot_step: Decimal, paid_away: Decimal = ZERO) -> list[str]:
    """Sells that should only bring back the cost of their lot, and sold far more, as text.

    At their own prices: one that filled at once may have got a better one. Small ones may have been raised to the
    exchange's minimum. `paid_away`: cost of base that paid fees of other symbols; a lot may have had so much more cost
    when its sell was placed, so all sells together may be too large by that.
    """
    prices = {order.client_id: order.price for order in record.orders}
    by_order: dict[str, list[Fill]] = {}
    for fill in fills:
        if is_recoup(fill.client_id):
            by_order.setdefault(fill.client_id, []).append(fill)
    found, beyond = [], ZERO
    for client_id, parts in by_order.items():
        worth = prices[client_id] * total(one.qty for one in parts)
        cost = total(one.basis for one in parts)
        most = max(cost * (1 + _FEES) + lot_step * prices[client_id], _SMALL)
        if worth > most:
            beyond += worth - most
            found.append(f"{client_id}: {worth} for a cost of {cost}")
    return found if beyond > paid_away else []


def misnamed(record: Record, grid: Grid) -> list[str]:
    """Client ids of sells whose id names a cell of this anchored grid, at the price of another centre.

    Other centres are several cells away; an order that was amended by hand, or rounded otherwise, is nearer.
    """
    found = []
    for order in record.orders:
        name = parse_order_id(order.client_id)
        if name is None or name.grid_id != grid.grid_id or name.purpose not in (Purpose.SELL, Purpose.RECOUP):
            continue
        ends = grid.ends_of(name.level)
        if ends is not None and abs(order.price - ends[1]) > ends[1] * _NEAR:
            found.append(f"{order.client_id} at {order.price}, its level is {ends[1]}")
    return found
