"""How urgent a call to the exchange is; told by whoever makes it, read where the budget is spent."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

from tasks.exchange.models import OrderRequest, Side

WAIT_SECONDS = 10.0


class CallClass(Enum):
    """Classes of calls; each leaves a share of the bucket to those more urgent than itself."""

    CANCEL = ("cancel", 0.0, False)
    SELL = ("sell", 0.0, True)
    BUY = ("buy", 0.1, True)
    READ = ("read", 0.3, False)

    def __init__(self, label: str, reserve: float, places: bool) -> None:
        self.label, self.reserve, self.places = label, reserve, places


@dataclass
class Scope:
    """The calls made inside one `call_class` block. `sent`: a request that changes something has gone out."""

    kind: CallClass = CallClass.READ
    wait_seconds: float = WAIT_SECONDS
    sent: bool = False


_scope: ContextVar[Scope | None] = ContextVar("exchange_call", default=None)


@contextmanager
def call_class(kind: CallClass, wait_seconds: float = WAIT_SECONDS) -> Iterator[Scope]:
    """Calls inside are of `kind` and wait for the budget no longer than `wait_seconds`. Use one block per order."""
    scope = Scope(kind, wait_seconds)
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def placing(requests: Sequence[OrderRequest]) -> AbstractContextManager[Scope]:
    """The class of one call that places `requests`; waits no longer than half of the time they are valid."""
    sells = any(request.side is Side.SELL for request in requests)
    wait_seconds = min(request.valid_ms for request in requests) / 2000
    return call_class(CallClass.SELL if sells else CallClass.BUY, wait_seconds)


def current_scope() -> Scope:
    """The scope in force; a read outside of any."""
    return _scope.get() or Scope()
