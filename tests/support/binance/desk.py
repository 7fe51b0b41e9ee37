"""A trading desk on the loopback exchange, through the real ccxt client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tasks.base.clock import Clock, utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import ccxt_exchange
from tasks.exchange.models import Candle
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tests.support.binance.config import Config
from tests.support.binance.server import Exchange, local_exchange
from tests.support.desk import TestDesk


@dataclass
class BinanceDesk(TestDesk):
    """A test desk and the server behind its exchange."""

    server: Exchange


def real_ccxt(server: Exchange, **changes: Any) -> Any:
    """The real `ccxt.async_support.binance`, pointed at `server`; without ccxt's own waits between requests."""
    exchange = ccxt_exchange(server.settings(**changes))
    exchange.enableRateLimit = False
    return exchange


async def join_binance_desk(redis: RedisClient, own: Settings, server: Exchange) -> BinanceDesk:
    """A desk on a server that already runs (in this process or another)."""
    joined = binance_desk(redis, own, server, real_ccxt(server))
    await joined.desk.allocator.rebalance_if_needed(reason="start")
    return joined


def binance_desk(
    redis: RedisClient, own: Settings, server: Exchange, exchange: Any, clock: Clock = utc_now
) -> BinanceDesk:
    """A desk over a ccxt client; nothing is asked or written yet."""
    client, allocator = CcxtClient(exchange), GlobalFundAllocator.from_settings(own, redis, clock)
    desk = Desk(settings=own, redis=redis, exchange=client, allocator=allocator, keys=Keys(own.account), clock=clock)
    return BinanceDesk(desk, exchange, client, server)


@asynccontextmanager
async def open_binance_desk(
    redis: RedisClient, own: Settings, candles: Mapping[str, Sequence[Candle]], config: Config | None = None
) -> AsyncIterator[BinanceDesk]:
    """A desk over `candles` on an exchange in this event loop."""
    async with local_exchange(candles, config) as server:
        desk = await join_binance_desk(redis, own, server)
        try:
            yield desk
        finally:
            await desk.close()
