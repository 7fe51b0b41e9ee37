"""Keeping a lease while the work under it takes longer than it lasts."""

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
    """Renew the lease each third of its time. Once it is lost nothing is renewed: the scripts refuse the old fence."""
    over = asyncio.Event()
    keeper = asyncio.create_task(_keep(desk, symbol, owner, over))
    try:
        yield
    finally:
        over.set()  # a wait that has just ended may swallow a cancellation
        keeper.cancel()


async def _keep(desk: Desk, symbol: str, owner: str, over: asyncio.Event) -> None:
    lease_ms = desk.lease_ms
    held = True
    while held and not over.is_set():
        await asyncio.sleep(lease_ms / 3000)
        try:
            held = await store.renew_lease(desk.redis, keys=desk.keys, symbol=symbol, owner=owner, lease_ms=lease_ms)
        except RedisError as error:
            log.warning("lease not renewed", extra={"symbol": symbol, "error": str(error)})
