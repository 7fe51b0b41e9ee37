"""Which levels get orders where the exchange allows fewer open orders than the grid wants. Pure."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

from tasks.grid.models import Cell, CellState
from tasks.grid.plan_models import PlannedOrder
from tasks.grid.resizing import MAX_PER_TICK


class Allowed(NamedTuple):
    """The orders to place, those that must wait, and the client ids of open orders that make room for nearer ones."""

    place: tuple[PlannedOrder, ...]
    waiting: tuple[PlannedOrder, ...]
    cancel: tuple[str, ...]


def nearest_orders(
    place: Sequence[PlannedOrder],
    cells: Sequence[Cell],
    price: Decimal,
    most: int,
    cancelled: Collection[str] = (),
    unfunded: Collection[str] = (),
) -> Allowed:
    """Give the orders that the exchange allows to the levels nearest to the price.

    `most`: open orders that the cells may have. An order being cancelled (client ids in `cancelled`) counts until it
    has ended. An open order makes room for a level that is nearer by more than a cell, so that a price between two
    levels does not make both change for ever; a bounded number per tick. `unfunded`: orders that the pot will hardly
    grant come last, and none makes room for them.
    """
    holding = [cell for cell in cells if cell.order_id is not None]
    free = most - len(holding)
    if len(place) <= free:
        return Allowed(tuple(place), (), ())
    ranked = sorted(place, key=lambda order: (order.client_id in unfunded, abs(order.price - price)))
    now, waiting = ranked[: max(free, 0)], ranked[max(free, 0) :]
    ending = [cell for cell in holding if cell.order_id in cancelled]
    room_soon = max(len(ending) + min(free, 0), 0)
    nearer = [order for order in waiting if order.client_id not in unfunded][room_soon:]
    staying = [cell for cell in holding if cell.order_id not in cancelled]
    farthest = sorted(staying, key=lambda cell: abs(_price(cell) - price), reverse=True)
    deficit = max(-free - len(ending), 0)  # so many orders must end before one more is allowed
    count = 0
    for number, (order, cell) in enumerate(zip(nearer, farthest[deficit:], strict=False), start=deficit + 1):
        width = cell.sell_price - cell.buy_price
        if abs(order.price - price) + width < abs(_price(cell) - price):
            count = number
    cancel = [str(cell.order_id) for cell in farthest[: min(count, MAX_PER_TICK)]]
    kept = {order.client_id for order in now}
    return Allowed(tuple(order for order in place if order.client_id in kept), tuple(waiting), tuple(cancel))


def _price(cell: Cell) -> Decimal:
    """The price of the cell's order."""
    return cell.sell_price if cell.state is CellState.SELLING else cell.buy_price
