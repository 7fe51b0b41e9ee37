"""How often this process called the exchange, and how often that failed; the heartbeat carries it to Redis."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tasks.base.tally import Tally

T = TypeVar("T")
CALLS, ERRORS = "calls", "errors"
EXCHANGE_CALLS = Tally()


async def counted(call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """The answer of a method of ccxt. Counts it by name, and failures by kind; that an order is gone is an answer."""
    EXCHANGE_CALLS.add(f"{CALLS}|{getattr(call, '__name__', 'call')}")
    try:
        return await call(*arguments)
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        if "OrderNotFound" not in kinds:  # by name: readers of the counts do not load ccxt
            EXCHANGE_CALLS.add(f"{ERRORS}|{kinds[0]}")
        raise
