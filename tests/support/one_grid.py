"""A play of one symbol over the loopback exchange in virtual time: what several test modules do with it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.ledger.steps import audit_funds
from tasks.tick.trader import GridTrader
from tasks.views.grid import GridView, read_grid
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk
from tests.support.candles import candles_through
from tests.support.desk import BTC, settings
from tests.support.virtual.desk import VirtualWorld, play_in_world

Work = Callable[[VirtualWorld, BinanceDesk, GridTrader], Awaitable[None]]


def play(prices: Sequence[str], work: Work, own: Mapping[str, Any], config: Config | None = None) -> None:
    """One symbol with these fields; after the work, its books agree with the account."""

    async def opened(world: VirtualWorld) -> None:
        desk = world.worker()
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        trader = await desk.trader()
        await trader.tick()
        await work(world, desk, trader)
        await audited(desk)

    play_in_world(settings(symbols={BTC: dict(own)}), {BTC: candles_through(prices)}, opened, config)


async def minutes(desk: BinanceDesk, trader: GridTrader, count: int) -> None:
    """So many candles, each with a tick that books and one that follows."""
    for _ in range(count):
        await desk.server.advance(1)
        await trader.tick()
        await trader.tick()


async def audited(desk: BinanceDesk) -> Book:
    """The ledger: exact, the sum of the cells, equal to the account."""
    keys, redis = desk.desk.keys, desk.desk.redis
    book = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
    assert value(book, Decimal("41234.56")).identity_error == 0
    held = (await desk.client.balances()).get("BTC")
    assert book.base == (held.free + held.locked if held else 0)
    assert sum((cell.qty for cell in (await ladder(redis, desk)).cells), Decimal(0)) == book.base
    assert (await audit_funds(redis, keys, [BTC], desk.client)).drift == ()
    return book


async def ladder(redis: RedisClient, desk: BinanceDesk) -> GridView:
    """The symbol's cells."""
    return await read_grid(redis, desk.desk.settings.account, BTC)
