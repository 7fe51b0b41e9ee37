"""What flows and commands ask of the pot."""

from collections.abc import Sequence

from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds import store
from tasks.settings.model import Settings


async def set_paused(settings: Settings, redis: RedisClient, symbols: Sequence[str], paused: bool) -> int:
    """Pause or resume new buys of `symbols`, or of the whole pot when none is named; how many changed.

    Raises ConfigError for a symbol that is not configured.
    """
    unknown = [symbol for symbol in symbols if symbol not in settings.symbols]
    if unknown:
        known = ", ".join(settings.symbols)
        rule = "not a configured symbol"
        raise ConfigError([Problem("symbol", name, rule, f"Use one of: {known}") for name in unknown], "the command")
    keys = Keys(settings.account)
    hashes = [keys.funds_symbol(symbol) for symbol in symbols] or [keys.funds]
    return await store.set_flag(redis, hashes=hashes, flag="paused", value=paused)


async def set_stopped(settings: Settings, redis: RedisClient, stopped: bool) -> int:
    """An operator's stop: while it stands, ticks cancel what rests and place nothing. A restart does not lift it."""
    return await store.set_flag(redis, hashes=[Keys(settings.account).funds], flag="stopped", value=stopped)
