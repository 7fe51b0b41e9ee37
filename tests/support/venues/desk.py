"""A trading desk on a loopback OKX or Bybit, through the real ccxt client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import ccxt_exchange
from tasks.exchange.models import Candle
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.model import ExchangeSettings, Settings
from tasks.tick.desk import Desk
from tests.support.binance.config import API_KEY, SECRET, Config
from tests.support.binance.server import LocalExchange, serve
from tests.support.desk import TestDesk
from tests.support.venues.bybit import Bybit
from tests.support.venues.okx import PASSPHRASE, Okx
from tests.support.venues.venue import Venue

VENUES: Mapping[str, type[Venue]] = {"okx": Okx, "bybit": Bybit}


@dataclass
class VenueDesk(TestDesk):
    """A test desk, the exchange behind it, and the server that moves it."""

    venue: Venue
    server: LocalExchange


def venue_settings(exchange_id: str, url: str) -> ExchangeSettings:
    """Settings for the exchange at `url`, with live orders on."""
    keys = {"api_key": SecretStr(API_KEY), "secret": SecretStr(SECRET), "password": SecretStr(PASSPHRASE)}
    return ExchangeSettings(id=exchange_id, api_url=url, live=True, **keys)


def venue_ccxt(exchange_id: str, url: str) -> Any:
    """The exchange's own ccxt client, pointed at `url`; without ccxt's waits between requests."""
    exchange = ccxt_exchange(venue_settings(exchange_id, url))
    exchange.enableRateLimit = False
    return exchange


@asynccontextmanager
async def open_venue(
    exchange_id: str, candles: Mapping[str, Sequence[Candle]], config: Config | None = None
) -> AsyncIterator[tuple[Venue, LocalExchange]]:
    """The exchange over `candles` in this event loop; like the real ones it takes fees out of what is received."""
    venue = VENUES[exchange_id](candles, config or Config(fee_currency="base"))
    async with serve(venue) as server:
        yield venue, server


@asynccontextmanager
async def open_venue_desk(
    exchange_id: str,
    redis: RedisClient,
    own: Settings,
    candles: Mapping[str, Sequence[Candle]],
    config: Config | None = None,
) -> AsyncIterator[VenueDesk]:
    """A desk over `candles` on the exchange."""
    async with open_venue(exchange_id, candles, config) as (venue, server):
        exchange = venue_ccxt(exchange_id, server.url)
        client = CcxtClient(exchange)
        allocator = GlobalFundAllocator.from_settings(own, redis)
        await allocator.rebalance_if_needed(reason="start")
        desk = Desk(settings=own, redis=redis, exchange=client, allocator=allocator, keys=Keys(own.account))
        try:
            yield VenueDesk(desk, exchange, client, venue, server)
        finally:
            await client.close()
