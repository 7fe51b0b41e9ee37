"""Which symbols the exchange lists. A symbol that it does not list stops alone: the others trade on."""

import logging
from collections.abc import Collection, Mapping, Sequence

from tasks.base.errors import ExchangeError, ExchangeUnavailable, UnknownSymbol
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Market
from tasks.exchange.port import ExchangePort
from tasks.settings.model import Settings
from tasks.tick.desk import Desk
from tasks.tick.failures import store_failure

log = logging.getLogger(__name__)


async def listed_markets(exchange: ExchangePort, symbols: Sequence[str]) -> Mapping[str, Market]:
    """The markets of those symbols that the exchange lists. Raises ExchangeError where it lists none of them."""
    try:
        return await exchange.markets(symbols)
    except ExchangeUnavailable:
        raise
    except ExchangeError as error:
        found = await exchange.refreshed_markets(symbols)
        if not found:
            raise
        log.error("the exchange does not list every symbol; the others are traded", extra={"error": str(error)})
        return found


async def refuse_unknown_symbols(redis: RedisClient, keys: Keys, settings: Settings, listed: Collection[str]) -> None:
    """Refuse configured symbols that the exchange does not list and that never traded: their names are wrong.

    A symbol with a grid in Redis was listed before, so it was delisted: it stops alone. Raises ExchangeError.
    """
    missing = [symbol for symbol in settings.symbols if symbol not in listed]
    if not missing:
        return
    grids = await redis.mget([keys.grid(symbol) for symbol in missing])
    unknown = [symbol for symbol, grid in zip(missing, grids, strict=True) if grid is None]
    if unknown:
        raise ExchangeError(f"{settings.exchange.id} does not list {', '.join(unknown)}; check the symbols' names")


async def market_of_symbol(desk: Desk, symbol: str) -> Mapping[str, Market]:
    """The market of a symbol that this process has not traded yet. Raises UnknownSymbol where there is none."""
    if not desk.exchange.apart_from_redis:
        await _reopen_paper(desk)
    try:
        return await desk.exchange.markets([symbol])
    except ExchangeUnavailable:
        raise
    except ExchangeError as error:
        remedy = f"If it was delisted, book out what it holds with: gridflow funds write-off {symbol}"
        why = f"{error}. {remedy}"
        await store_failure(desk, symbol, why, unlisted=True)
        raise UnknownSymbol(why) from error


async def _reopen_paper(desk: Desk) -> None:
    """Open the paper exchange again: it lists only the symbols that were configured when it was opened."""
    from tasks.tick.exchange_factory import open_exchange

    before, desk.exchange = desk.exchange, await open_exchange(desk.settings, desk.redis)
    await before.close()


async def is_listed(desk: Desk, symbol: str) -> bool:
    """Whether the exchange lists the symbol. Raises ExchangeUnavailable where it does not say."""
    try:
        await desk.exchange.markets([symbol])
    except ExchangeUnavailable:
        raise
    except ExchangeError:
        return False
    return True
