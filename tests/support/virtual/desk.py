"""A worker's desk in virtual time, and short plays for one or several of them."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.exchange.models import Candle
from tasks.settings.model import Settings
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk, binance_desk
from tests.support.virtual.exchange import VirtualExchange, virtual_exchange
from tests.support.virtual.loop import run_virtually
from tests.support.virtual.redis import VirtualRedis, virtual_redis


@dataclass
class VirtualWorld:
    """One exchange, one Redis, settings; what is made here is closed at the end, dead or alive."""

    settings: Settings
    exchange: VirtualExchange
    redis: VirtualRedis
    redis_lag: random.Random
    leftovers: AsyncExitStack

    def ccxt(self) -> Any:
        """An exchange client of its own."""
        exchange = self.exchange.ccxt()
        self.leftovers.push_async_callback(exchange.close)
        return exchange

    def worker(self, exchange: Any = None, own: Settings | None = None) -> BinanceDesk:
        """What a worker process has for itself; `exchange`: a ccxt client to share with others; `own`: another file."""
        redis = self.redis.client(self.redis_lag)
        self.leftovers.push_async_callback(redis.aclose)
        clock, server = self.exchange.clock.now, self.exchange.server
        return binance_desk(redis, own or self.settings, server, exchange or self.ccxt(), clock)


async def in_world(
    own: Settings,
    candles: Mapping[str, Sequence[Candle]],
    config: Config,
    redis: VirtualRedis,
    folder: Path,
    seed: int,
    work: Callable[[VirtualWorld], Awaitable[Any]],
) -> Any:
    """Do `work` in a world of its own, in which the seed decides how long everything is on its way."""
    await redis.forget()
    lag = random.Random(f"way to the exchange {seed}")
    async with virtual_exchange(folder, candles, config, lag) as exchange, AsyncExitStack() as leftovers:
        return await work(VirtualWorld(own, exchange, redis, random.Random(f"way to Redis {seed}"), leftovers))


def play_in_world(
    own: Settings,
    candles: Mapping[str, Sequence[Candle]],
    work: Callable[[VirtualWorld], Awaitable[Any]],
    config: Config | None = None,
) -> Any:
    """One such play on a Redis server of its own."""
    with TemporaryDirectory(prefix="gridflow-") as name, virtual_redis(Path(name)) as redis:
        folder = Path(name)
        return run_virtually(lambda: in_world(own, candles, config or Config(), redis, folder, 1, work), 1)
