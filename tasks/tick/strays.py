"""Orders of ours that no journal knows: they should not exist, and if one does it is cancelled. Pure."""

from collections.abc import Sequence

from tasks.exchange.models import Order
from tasks.tick.models import SymbolState
from tasks.tick.rebuild import parse_name


def unjournalled(state: SymbolState, open_orders: Sequence[Order]) -> list[Order]:
    """Resting orders with one of our ids but without a journal entry."""
    return [
        order
        for order in open_orders
        if order.client_id not in state.intents and parse_name(order.client_id) is not None
    ]


def stray_orders(state: SymbolState, open_orders: Sequence[Order]) -> list[Order]:
    """Those that the tick before has seen too: a reading may be older than the journal, but not by a whole tick."""
    before = state.last.strays if state.last else ()
    return [order for order in unjournalled(state, open_orders) if order.client_id in before]
