"""The report of a stop, and the hold that keeps the pot stopped while orders are cancelled."""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

from redis.exceptions import RedisError

from tasks.base.cancelling import cancel_and_wait
from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.money import from_units, plain
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Frozen
from tasks.funds import store

log = logging.getLogger(__name__)
T = TypeVar("T")
HOLD_SECONDS = 20
_RENEW_SECONDS = 4.0
_RETRY_SECONDS = 60.0


class OpenOrder(Frozen):
    """A journalled order that may rest on the exchange. Price in quote, quantity in base."""

    symbol: str
    id: str
    side: str
    price: Decimal
    qty: Decimal

    def __str__(self) -> str:
        return f"{self.symbol} {self.side} {plain(self.qty)} at {plain(self.price)} ({self.id})"


class StopReport(Frozen):
    """What is left after a stop: the orders that are still in the journal, and the quote still reserved."""

    orders_open: tuple[OpenOrder, ...]
    reserved: Decimal

    @property
    def is_clean(self) -> bool:
        """Whether no order is left."""
        return not self.orders_open

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, amounts as text."""
        rows = [one.model_dump() | {"price": plain(one.price), "qty": plain(one.qty)} for one in self.orders_open]
        return {"orders_open": rows, "reserved": plain(self.reserved)}

    def __str__(self) -> str:
        if self.is_clean:
            return "no order is open"
        return f"{len(self.orders_open)} order(s) may be open: " + "; ".join(map(str, self.orders_open))


async def read_stop_report(redis: RedisClient, keys: Keys, symbols: Iterable[str]) -> StopReport:
    """The orders in the journal of `symbols` and of every registered symbol."""
    names = sorted({*symbols, *await store.registered_symbols(redis, keys=keys)})
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hget(keys.funds, "reserved")
        for name in names:
            pipe.hvals(keys.intents(name))
        reserved, *journals = await pipe.execute()
    rows = [json.loads(text, parse_float=Decimal) for journal in journals for text in sorted(journal)]
    orders = [
        OpenOrder(symbol=row["symbol"], id=row["client_id"], side=row["side"], price=row["price"], qty=row["qty"])
        for row in rows
    ]
    return StopReport(orders_open=tuple(orders), reserved=from_units(int(reserved or 0)))


@asynccontextmanager
async def held(redis: RedisClient, keys: Keys) -> AsyncIterator[None]:
    """Keep the pot stopped while the block runs: ticks of every worker cancel resting orders and place none.

    The hold is renewed while the block runs and ends with the block. It expires if this process is killed.
    Raises StateError where Redis does not answer within a minute.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    ms = HOLD_SECONDS * 1000
    await with_retries(lambda: store.hold(redis, keys=keys, owner=owner, ms=ms))
    renewing = asyncio.create_task(_renew(redis, keys, owner, ms))
    try:
        yield
    finally:
        await cancel_and_wait({renewing})
        await _hold(redis, keys, owner, 0)


async def with_retries(call: Callable[[], Awaitable[T]]) -> T:
    """Await `call`, and again each second while Redis does not answer. Raises StateError after a minute."""
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return await call()
        except (RedisError, OSError) as error:
            log.warning("stop: Redis does not answer; trying again", extra={"error": str(error)})
            if time.monotonic() > deadline:
                raise StateError("Redis does not answer, so Gridflow cannot tell whether orders are open") from error
        await asyncio.sleep(1)


async def _renew(redis: RedisClient, keys: Keys, owner: str, ms: int) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await _hold(redis, keys, owner, ms)


async def _hold(redis: RedisClient, keys: Keys, owner: str, ms: int) -> None:
    try:
        await store.hold(redis, keys=keys, owner=owner, ms=ms)
    except (RedisError, OSError) as error:  # the next renewal tries again; without one the hold expires
        log.warning("the hold on the pot was not renewed", extra={"error": str(error)})
