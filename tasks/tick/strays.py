"""Orders of ours that no journal knows: they should not exist, and if one does it is cancelled. Pure."""

from collections.abc import Sequence

from tasks.exchange.models import Order
from tasks.exchange.names import parse_name
from tasks.tick.models import SymbolState


def unjournalled(state: SymbolState, open_orders: Sequence[Order]) -> list[Order]:
    """Resting orders of this account's grids without a journal entry; another account's grids are none of ours."""
    grids = {cell.grid_id for cell in state.cells.values()} | ({state.grid.grid_id} if state.grid else set())
    found = []
    for order in open_orders:
        name = parse_name(order.client_id)
        if name is not None and name.grid_id in grids and order.client_id not in state.intents:
            found.append(order)
    return found


def seen_twice(state: SymbolState, strays: Sequence[Order]) -> list[Order]:
    """Those that the tick before has seen too: a reading may be older than the journal, but not by a whole tick."""
    before = state.last.strays if state.last else ()
    return [order for order in strays if order.client_id in before]
