"""How urgent a request to the exchange is, and which requests take from the rate budget together.

The caller opens a scope; the rate budget reads it when ccxt is about to send a request. Pure.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from tasks.exchange.models import OrderRequest, Side

WAIT_SECONDS = 10.0


class Priority(Enum):
    """Each priority leaves a share of the budget (`reserve`) to more urgent requests."""

    CANCEL = ("cancel", 0.0, False)
    SELL = ("sell", 0.0, True)
    BUY = ("buy", 0.1, True)
    READ = ("read", 0.3, False)

    def __init__(self, label: str, reserve: float, places_orders: bool) -> None:
        self.label, self.reserve, self.places_orders = label, reserve, places_orders


class NextTry(NamedTuple):
    """When the budget can grant more, in seconds of the event loop: one request, and as many as are worth a try."""

    one_at: float = float("-inf")
    many_at: float = float("-inf")
    many: int | None = None


_AT_ONCE = NextTry()


class Surplus(NamedTuple):
    """What a bucket granted for requests that are not sent (ms), and the Redis time of the first grant (ms)."""

    cost_ms: float
    since_ms: int


@dataclass
class RequestBatch:
    """Requests of one priority and cost that take from the rate budget together.

    `unsent`: requests that are not sent yet. `cost_ms`: cost of each, once the first one is known.
    `granted`: how many of them may be sent; granted at `granted_at` (event loop, seconds), `since_ms` (Redis time).
    `surplus`: by bucket key, what is to be given back. `lowest_ms`: likewise, the least reported as left.
    `refusal`: why the rest may not be sent, and ms until another try; then nothing of the batch is sent any more.
    `at_end`: what the budget does once all responses are there.
    """

    unsent: int
    wait_seconds: float
    granted: int = 0
    granted_at: float = 0.0
    since_ms: int = 0
    cost_ms: float | None = None
    deadline: float | None = None
    next_try: NextTry = _AT_ONCE
    surplus: dict[str, Surplus] = field(default_factory=dict)
    refusal: tuple[str, int] | None = None
    lowest_ms: dict[str, float] = field(default_factory=dict)
    at_end: Callable[[], Awaitable[None]] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def covers(self, cost_ms: float) -> bool:
        """Whether a request of this cost is one of the batch."""
        return self.cost_ms is None or self.cost_ms == cost_ms

    def wanted(self) -> int:
        """How many requests to ask for at the next try."""
        unsent = max(self.unsent, 1)
        return unsent if self.next_try.many is None else min(unsent, self.next_try.many)

    def send_one(self) -> None:
        """Use one grant."""
        self.unsent -= 1
        self.granted -= 1

    def add_surplus(self, bucket: str, cost_ms: float, since_ms: int) -> None:
        """Note what the bucket is to get back."""
        before = self.surplus.get(bucket, Surplus(0.0, since_ms))
        if cost_ms > 0:
            self.surplus[bucket] = Surplus(before.cost_ms + cost_ms, min(before.since_ms, since_ms))

    def note_left(self, ms_by_bucket: Mapping[str, float]) -> None:
        """Keep the least that responses reported as left."""
        for bucket, ms in ms_by_bucket.items():
            self.lowest_ms[bucket] = min(ms, self.lowest_ms.get(bucket, ms))


@dataclass
class CallScope:
    """The requests of one call. `sent`: a request that changes something has gone out. `batch`: see RequestBatch."""

    priority: Priority = Priority.READ
    wait_seconds: float = WAIT_SECONDS
    sent: bool = False
    batch: RequestBatch | None = None


_scope: ContextVar[CallScope | None] = ContextVar("exchange_call", default=None)


def current_scope() -> CallScope:
    """The scope in force; a read outside of any."""
    return _scope.get() or CallScope()


@contextmanager
def _enter(scope: CallScope) -> Iterator[CallScope]:
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


@contextmanager
def call_scope(priority: Priority, wait_seconds: float = WAIT_SECONDS) -> Iterator[CallScope]:
    """Requests inside have `priority` and wait for the budget no longer than `wait_seconds`."""
    with _enter(CallScope(priority, wait_seconds)) as scope:
        yield scope


@asynccontextmanager
async def request_batch(
    priority: Priority, size: int, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[RequestBatch]:
    """The next `size` requests inside take from the rate budget together, and their answers are reported together.

    They wait no longer than `wait_seconds` in all. Those that the budget does not grant by then raise BudgetExhausted.
    """
    batch = RequestBatch(size, wait_seconds)
    try:
        with _enter(CallScope(priority, wait_seconds, batch=batch)):
            yield batch
    finally:
        if batch.at_end is not None:
            await batch.at_end()


@contextmanager
def one_of_batch() -> Iterator[CallScope]:
    """One call of the batch in force: what it has sent is known for it alone."""
    outer = current_scope()
    with _enter(CallScope(outer.priority, outer.wait_seconds, batch=outer.batch)) as scope:
        yield scope


def priority_of(requests: Sequence[OrderRequest]) -> Priority:
    """The priority of one call that places `requests`."""
    return Priority.SELL if any(request.side is Side.SELL for request in requests) else Priority.BUY


def max_wait_of(requests: Sequence[OrderRequest]) -> float:
    """Seconds that `requests` may wait for the budget: half of the time they are valid."""
    return min(request.valid_ms for request in requests) / 2000
