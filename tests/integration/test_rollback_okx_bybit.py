"""Redis goes back in time on OKX and Bybit, with two symbols, in virtual time."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings
from tasks.tick.comparing import compare_books
from tasks.tick.trader import GridTrader
from tests.support.desk import BTC, settings, walk
from tests.support.fault_check import check_orders_and_accounts, settle
from tests.support.venues.desk import VenueDesk, virtual_venue, virtual_venue_desk
from tests.support.virtual.redis import VirtualRedis, virtual_redis

pytestmark = pytest.mark.virtual_time
ETH = "ETH/USDT"
SYMBOLS = (BTC, ETH)
CANDLES = {BTC: walk(200, seed=3, step_bp=60), ETH: walk(200, seed=4, step_bp=60, start="2280")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualRedis]:
    """A Redis server in virtual time."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with virtual_redis(folder) as started:
        yield started


@pytest.fixture
async def redis(world: VirtualRedis) -> AsyncIterator[RedisClient]:
    """A client of it."""
    client = world.client(random.Random(1))
    yield client
    await client.aclose()


def own_settings() -> Settings:
    """Two busy grids."""
    return settings(symbols=dict.fromkeys(SYMBOLS, settings().symbols[BTC]))


async def trade(desk: VenueDesk, traders: Sequence[GridTrader], minutes: int) -> None:
    """Tick every symbol and move the market."""
    for _ in range(minutes):
        for trader in traders:
            await trader.tick()
        await desk.server.advance(1)


async def check(desk: VenueDesk, traders: Sequence[GridTrader]) -> None:
    """Orders, journals and books are those of the exchange."""
    for trader in traders:
        await settle(trader)
    await check_orders_and_accounts(desk, await desk.server.record(), SYMBOLS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["okx", "bybit"])
async def test_a_restored_snapshot(world: VirtualRedis, redis: RedisClient, tmp_path: Path, name: str) -> None:
    """No id is sent twice, every fill is booked, and the fences are above the old ones."""
    async with (
        virtual_venue(name, tmp_path, CANDLES) as at,
        virtual_venue_desk(at, redis, own_settings()) as desk,
    ):
        traders = [await desk.trader(symbol) for symbol in SYMBOLS]
        await trade(desk, traders, 15)
        saved = world.save()
        await trade(desk, traders, 40)
        fences = dict(desk.desk.fences)
        world.put_back(saved)
        reports = [await trader.tick() for trader in traders]
        assert all(report.fence > fences[report.symbol] for report in reports)
        await check(desk, traders)
        await trade(desk, traders, 20)
        await check(desk, traders)


@pytest.mark.parametrize(("name", "requests"), [("okx", 1), ("bybit", 2)])
async def test_a_plain_restart(
    world: VirtualRedis, redis: RedisClient, tmp_path: Path, name: str, requests: int
) -> None:
    """Nothing is new: the open orders, for each symbol the trades since the last tick, and the balances.

    Bybit names a further page behind every page. Only reading it shows that it is empty.
    """
    async with (
        virtual_venue(name, tmp_path, CANDLES) as at,
        virtual_venue_desk(at, redis, own_settings()) as desk,
    ):
        traders = [await desk.trader(symbol) for symbol in SYMBOLS]
        await trade(desk, traders, 20)
        for trader in traders:
            await settle(trader)
        world.put_back(world.save())
        before = len((await desk.server.record()).requests)
        await compare_books(desk.desk)
        assert len((await desk.server.record()).requests) - before == requests * (1 + len(SYMBOLS)) + 1
        await check(desk, traders)
