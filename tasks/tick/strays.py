"""Orders of ours that no journal knows: they should not exist, and if one does it is cancelled. Pure."""

from collections.abc import Sequence

from tasks.exchange.models import Order
from tasks.exchange.order_ids import account_tag, parse_order_id
from tasks.tick.models import SymbolState


def unjournalled(state: SymbolState, open_orders: Sequence[Order], account: str) -> list[Order]:
    """Resting orders with this account's tag and without a journal entry; another account's are none of ours."""
    tag = account_tag(account)
    return [
        order
        for order in open_orders
        if order.client_id not in state.intents
        and (found := parse_order_id(order.client_id)) is not None
        and found.account == tag
    ]


def seen_twice(state: SymbolState, strays: Sequence[Order]) -> list[Order]:
    """Those that the tick before has seen too: a reading may be older than the journal, but not by a whole tick."""
    before = state.last.strays if state.last else ()
    return [order for order in strays if order.client_id in before]
