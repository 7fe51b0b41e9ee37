"""Which symbols an account ticks: those configured, and those that left the settings and still hold something."""

from enum import StrEnum

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.store import registered_symbols
from tasks.settings.model import Settings
from tasks.tick.desk import Desk


class Lifecycle(StrEnum):
    """Whether a symbol trades, is being sold off, or has left."""

    TRADING = "trading"  # configured
    RETIRING = "retiring"  # left the settings: buys nothing, sells what it holds
    LEFT = "left"  # holds nothing any more; its past profit still counts


async def active_symbols(desk: Desk) -> list[str]:
    """Symbols that need ticks, sorted."""
    return await symbols_of(desk.redis, desk.keys, desk.settings)


async def symbols_of(redis: RedisClient, keys: Keys, settings: Settings) -> list[str]:
    """Symbols that need ticks by these settings, sorted."""
    return sorted({*settings.symbols, *await registered_symbols(redis, keys=keys)})


async def retiring_symbols(redis: RedisClient, keys: Keys, settings: Settings) -> list[str]:
    """Symbols that left the settings and still hold something, sorted."""
    return [symbol for symbol in await registered_symbols(redis, keys=keys) if symbol not in settings.symbols]


def lifecycle_of(symbol: str, settings: Settings, registered: bool) -> Lifecycle:
    """The stage of a symbol now. `registered`: it has a share of the pot."""
    if symbol in settings.symbols:
        return Lifecycle.TRADING
    return Lifecycle.RETIRING if registered else Lifecycle.LEFT
