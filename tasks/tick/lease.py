"""Renews a lease in the background, so that a tick may take longer than the lease lasts; and says that one was lost."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from tasks.base.errors import LeaseLost, RedisRestarted, StateError
from tasks.funds.models import FundCode
from tasks.tick import store
from tasks.tick.desk import Desk

log = logging.getLogger(__name__)


def check_code(code: FundCode, symbol: str, fence: int, account: str) -> None:
    """Raise LeaseLost or RedisRestarted where a script refused the fence, StateError where the books have changed."""
    if code is FundCode.STALE_FENCE:
        raise LeaseLost(symbol, fence)
    if code is FundCode.RESTARTED:
        raise RedisRestarted(account)
    if code is FundCode.CONFLICT:
        raise StateError(
            f"{symbol}: another process changed the books during this tick. The next tick reads them again"
        )


@asynccontextmanager
async def kept_lease(desk: Desk, symbol: str, owner: str) -> AsyncIterator[None]:
    """Renew the lease while the block runs, three times within its duration.

    A lost lease is not renewed and does not end the block: the scripts refuse its old fence.
    """
    async with kept(desk, desk.keys.lease(symbol), owner):
        yield


@asynccontextmanager
async def kept(desk: Desk, key: str, owner: str) -> AsyncIterator[None]:
    """Renew what `owner` holds under `key`, a lease or a lock of the same length, while the block runs."""
    is_over = asyncio.Event()
    renewing = asyncio.create_task(_renew(desk, key, owner, is_over))
    try:
        yield
    finally:
        is_over.set()  # a cancellation alone may be lost if the sleep has just ended
        renewing.cancel()


async def _renew(desk: Desk, key: str, owner: str, is_over: asyncio.Event) -> None:
    lease_ms = desk.lease_ms
    held = True
    while held and not is_over.is_set():
        await asyncio.sleep(lease_ms / 3000)
        try:
            held = await store.renew(desk.redis, key=key, owner=owner, lease_ms=lease_ms)
        except RedisError as error:
            log.warning("lease not renewed", extra={"key": key, "error": str(error)})
