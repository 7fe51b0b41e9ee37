"""The loopback exchange, and the real ccxt client before it, in virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any

import aiohttp
from aiohttp import web

from tasks.exchange.models import Candle
from tests.support.binance.app import Binance
from tests.support.binance.config import Config
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import LocalExchange, serve
from tests.support.virtual.loop import VirtualClock, virtual_clock

SLOWEST_SECONDS = 0.04


@dataclass(frozen=True)
class VirtualExchange:
    """The exchange, and where it listens."""

    server: LocalExchange
    socket: Path
    clock: VirtualClock

    def ccxt(self) -> Any:
        """A ccxt client with a session of its own."""
        return join_socket(real_ccxt(self.server), self.socket)


def join_socket(exchange: Any, socket: Path) -> Any:
    """A ccxt client that was not used yet, moved to the exchange behind `socket`, in virtual time."""
    exchange.milliseconds = virtual_clock().ms
    exchange.ssl_context = _ssl()
    exchange.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)))
    return exchange


@cache
def _ssl() -> SSLContext:
    """What ccxt wants to have; making one takes longer than a tick."""
    return create_default_context()


class _FarAway(Binance):
    """The exchange, and the ways to it and back."""

    def __init__(self, candles: Mapping[str, Sequence[Candle]], config: Config, lag: random.Random) -> None:
        self._lag = lag
        super().__init__(candles, config, virtual_clock().ms)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """See Binance."""
        await asyncio.sleep(self._lag.uniform(0, SLOWEST_SECONDS))
        response = await super().handle(request)
        await asyncio.sleep(self._lag.uniform(0, SLOWEST_SECONDS))
        return response


@asynccontextmanager
async def virtual_exchange(
    folder: Path, candles: Mapping[str, Sequence[Candle]], config: Config, rng: random.Random
) -> AsyncIterator[VirtualExchange]:
    """The exchange over `candles`. `rng` draws how long requests and answers are on their way."""
    clock, socket = virtual_clock(), folder / "exchange.sock"
    socket.unlink(missing_ok=True)
    async with serve(_FarAway(candles, config, rng), socket=socket) as server:
        yield VirtualExchange(server, socket, clock)
