"""Pause, stop and resume the pot."""

from collections.abc import Sequence

from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import Keys
from tasks.base.redis import RedisClient
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
    """Set or lift an operator's stop; how many changed (0 or 1).

    While it is set, ticks cancel resting orders and place none. It outlives a restart.
    """
    return await store.set_flag(redis, hashes=[Keys(settings.account).funds], flag="stopped", value=stopped)
