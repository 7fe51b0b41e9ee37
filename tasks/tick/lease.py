"""Renewing a lease while the work under it takes longer than the lease lasts."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from tasks.tick import store
from tasks.tick.desk import Desk

log = logging.getLogger(__name__)


@asynccontextmanager
async def kept_lease(desk: Desk, symbol: str, owner: str) -> AsyncIterator[None]:
    """Renew the lease each third of its time while the block runs.

    A lost lease is not renewed and does not end the block: the scripts refuse its old fence.
    """
    over = asyncio.Event()
    renewing = asyncio.create_task(_renew(desk, symbol, owner, over))
    try:
        yield
    finally:
        over.set()  # cancelling alone may be lost where the sleep has just ended
        renewing.cancel()


async def _renew(desk: Desk, symbol: str, owner: str, over: asyncio.Event) -> None:
    lease_ms = desk.lease_ms
    held = True
    while held and not over.is_set():
        await asyncio.sleep(lease_ms / 3000)
        try:
            held = await store.renew_lease(desk.redis, keys=desk.keys, symbol=symbol, owner=owner, lease_ms=lease_ms)
        except RedisError as error:
            log.warning("lease not renewed", extra={"symbol": symbol, "error": str(error)})
