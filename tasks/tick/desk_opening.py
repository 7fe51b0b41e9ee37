"""Opens what the traders of a process share: Redis, the exchange and the fund allocator."""

import logging
from collections.abc import Awaitable, Callable
from uuid import uuid4

from tasks.base.clock import utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.port import ExchangePort
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.in_force import in_force, publish
from tasks.settings.model import Settings
from tasks.tick.clock_check import check_clock
from tasks.tick.desk import Desk
from tasks.tick.grid_checks import refuse_impossible_grids
from tasks.tick.listing import listed_markets, refuse_unknown_symbols
from tasks.tick.recover import open_books
from tasks.tick.redis_check import check_redis
from tasks.tick.trading_mode import claim_books, is_live

log = logging.getLogger(__name__)


async def open_desk(
    settings: Settings,
    redis_url: str,
    recover: Callable[[], Awaitable[bool]] | None = None,
    restore_settings: Callable[[], Awaitable[None]] | None = None,
) -> Desk:
    """Connect to Redis and the exchange, and share the pot.

    `settings`: this process's own. The desk trades by the settings in force. Raises StateError, ConfigError or
    ExchangeUnavailable, and closes both connections, where this process must not trade.
    """
    from tasks.tick.exchange_factory import open_exchange  # imports ccxt, which takes seconds

    redis, keys = connect(redis_url), Keys(settings.account)
    exchange: ExchangePort | None = None
    try:
        await check_clock(redis)
        if is_live(settings):
            await check_redis(redis, settings)
        await claim_books(redis, keys, settings)
        if restore_settings is not None and not await redis.hexists(keys.settings, "version"):
            await restore_settings()
        settings = await _settings_in_force(redis, settings)
        exchange = await open_exchange(settings, redis)
        allocator = GlobalFundAllocator.from_settings(settings, redis)
        desk = Desk(settings, redis, exchange, allocator, keys, utc_now)
        if recover is not None:
            desk.recover = recover
        if restore_settings is not None:
            desk.restore_settings = restore_settings
        desk.markets.add(await listed_markets(exchange, list(settings.symbols)))
        await refuse_unknown_symbols(redis, keys, settings, desk.markets.known)
        await open_books(desk, desk.markets.known, owner=uuid4().hex)
        await refuse_impossible_grids(desk, desk.markets.known)
    except BaseException:
        if exchange is not None:
            await exchange.close()
        await redis.aclose()
        raise
    return desk


async def _settings_in_force(redis: RedisClient, own: Settings) -> Settings:
    """The settings in force. Logs the fields in which this process's own settings differ. Publishes the first ones."""
    await publish(redis, own, only_first=True)
    found = await in_force(redis, own)
    if found.differing:
        facts = {"version": found.version, "fields": ", ".join(found.differing)}
        log.warning("this worker's settings differ from the settings in force, which it trades by", extra=facts)
    return found.settings


async def close_desk(desk: Desk) -> None:
    """Close the connections to the exchange and to Redis."""
    await desk.exchange.close()
    await desk.redis.aclose()
