"""Plans and reservations use the account's own fee rates, where the exchange tells them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tasks.base.money import units_up
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.grid.sizing import FEE_ROUNDING_UNITS
from tasks.orders.models import Intent
from tests.support.binance.config import Config
from tests.support.binance.desk import open_binance_desk, real_ccxt
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.desk import BTC, settings, walk
from tests.support.venues.desk import open_venue, venue_ccxt

ETH = "ETH/USDT"
PATHS = {"binance": "asset/tradeFee", "okx": "account/trade-fee", "bybit": "account/fee-rate"}
CANDLES = {BTC: walk(30), ETH: walk(30, start="2300")}
OWN = Config(maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0004"))


@asynccontextmanager
async def client_of(name: str) -> AsyncIterator[tuple[LocalExchange, CcxtClient]]:
    """A client on the exchange, and what moves that."""
    async with asyncio.timeout(60):
        if name == "binance":
            async with local_exchange(CANDLES, OWN) as server:
                client = CcxtClient(real_ccxt(server))
                try:
                    yield server, client
                finally:
                    await client.close()
        else:
            async with open_venue(name, CANDLES, OWN) as (_, server):
                client = CcxtClient(venue_ccxt(name, server.url))
                try:
                    yield server, client
                finally:
                    await client.close()


async def asked(server: LocalExchange, name: str) -> int:
    """How often the exchange was asked for fee rates."""
    return sum(row.path.endswith(PATHS[name]) for row in (await server.record()).requests)


@pytest.fixture(params=sorted(PATHS))
def name(request: pytest.FixtureRequest) -> str:
    """Each exchange that takes real orders."""
    return str(request.param)


async def test_markets_have_the_account_s_own_rates(name: str) -> None:
    """Not the listed 0.1 %. They are read once, and again with the markets."""
    async with client_of(name) as (server, client):
        for _ in range(3):
            market = (await client.markets([BTC]))[BTC]
            assert (market.maker_fee, market.taker_fee) == (Decimal("0.0002"), Decimal("0.0004"))
        assert await asked(server, name) == 1
        await server.configure(maker_fee=Decimal("0.0003"))
        assert (await client.refreshed_markets([BTC, ETH]))[ETH].maker_fee == Decimal("0.0003")
        assert (await client.markets([BTC]))[BTC].maker_fee == Decimal("0.0003")
        assert await asked(server, name) == (2 if name == "binance" else 3), "one request for all, or one each"


async def test_rates_that_cannot_be_read_stay_as_they_were(name: str) -> None:
    """The listed ones before the first answer, then those of the last answer; nothing fails."""
    async with client_of(name) as (server, client):
        await server.inject(Fault(kind=FaultKind.DROP_BEFORE, path=PATHS[name]), count=9)
        listed = (await client.markets([BTC]))[BTC]
        assert listed.maker_fee > Decimal("0.0005")
        await server.clear_faults()
        assert (await client.refreshed_markets([BTC]))[BTC].maker_fee == Decimal("0.0002")
        await server.inject(Fault(kind=FaultKind.DROP_BEFORE, path=PATHS[name]), count=9)
        assert (await client.refreshed_markets([BTC]))[BTC].maker_fee == Decimal("0.0002")


async def test_a_reservation_holds_the_account_s_own_fee(redis: RedisClient) -> None:
    """Every buy reserves price × amount × 1.0004; ticks never ask for the rates."""
    async with open_binance_desk(redis, settings(), {BTC: walk(30)}, OWN) as desk:
        trader = await desk.trader()
        for _ in range(20):
            await trader.tick()
            await desk.server.advance(1)
        texts = await redis.hvals(desk.desk.keys.intents(BTC))
        buys = [one for text in texts if (one := Intent.model_validate_json(text)).units and not one.filled]
        assert buys
        for buy in buys:
            assert buy.units == units_up(buy.price * buy.qty * Decimal("1.0004")) + FEE_ROUNDING_UNITS
        record = await desk.server.record()
        assert sum(row.path.endswith(PATHS["binance"]) for row in record.requests) == 1
