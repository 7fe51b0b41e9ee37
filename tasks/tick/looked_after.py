"""Which symbols an account looks after: those configured, and those that left the settings and still hold something."""

from enum import StrEnum

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.store import registered_symbols
from tasks.settings.model import Settings
from tasks.tick.desk import Desk


class Lifecycle(StrEnum):
    """What becomes of a symbol."""

    TRADING = "trading"  # configured
    RETIRING = "retiring"  # left the settings: buys nothing, sells what it holds
    LEFT = "left"  # has nothing any more; its books still count


async def symbols_looked_after(desk: Desk) -> list[str]:
    """Symbols that need ticks, sorted."""
    return sorted({*desk.settings.symbols, *await registered_symbols(desk.redis, keys=desk.keys)})


async def retiring_symbols(redis: RedisClient, keys: Keys, settings: Settings) -> list[str]:
    """Symbols that left the settings and still hold something, sorted."""
    return [symbol for symbol in await registered_symbols(redis, keys=keys) if symbol not in settings.symbols]


def lifecycle_of(symbol: str, settings: Settings, registered: bool) -> Lifecycle:
    """What becomes of a symbol now."""
    if symbol in settings.symbols:
        return Lifecycle.TRADING
    return Lifecycle.RETIRING if registered else Lifecycle.LEFT
