"""`Desk`: the connections and settings that all traders of a process share."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.port import ExchangePort
from tasks.funds.allocator import GlobalFundAllocator
from tasks.settings.in_force import in_force
from tasks.settings.model import Settings
from tasks.tick.markets import Markets

log = logging.getLogger(__name__)


async def _no_history() -> bool:
    """The default of `recover`."""
    return False


async def _no_settings() -> None:
    """The default of `restore_settings`."""


@dataclass
class Desk:
    """The settings in force, Redis client, exchange client, fund allocator and markets of one process.

    `fences`: the newest fence that this process got, by symbol. A Redis with a lower one has gone back in time.
    `explained`: by symbol, ids of trades that this process knows to be in the books or not ours, the oldest first.
    `recover` is called before the books are opened where Redis holds none: it writes back what the history has, an
    operator's stop first, and says whether there were books. `restore_settings` is called where Redis holds no settings
    in force: it puts back those that were.
    """

    settings: Settings
    redis: RedisClient
    exchange: ExchangePort
    allocator: GlobalFundAllocator
    keys: Keys
    clock: Clock = utc_now
    settings_version: int = 0
    markets: Markets = field(default_factory=Markets)
    fences: dict[str, int] = field(default_factory=dict)
    explained: dict[str, dict[str, None]] = field(default_factory=dict)
    recover: Callable[[], Awaitable[bool]] = _no_history
    restore_settings: Callable[[], Awaitable[None]] = _no_settings

    async def follow_settings(self) -> None:
        """Load the settings in force. Raises StateError where this process cannot trade by them."""
        found = await in_force(self.redis, self.settings)
        if found.differing:
            log.info("settings in force changed", extra={"version": found.version, "fields": list(found.differing)})
        self.settings, self.settings_version = found.settings, found.version
        self.allocator.follow(self.settings, found.version)

    def forget(self) -> None:
        """Forget what was read from Redis: it was lost or went back in time."""
        self.fences.clear()
        self.explained.clear()

    @property
    def now_ms(self) -> int:
        """The time, in ms."""
        return to_ms(self.clock())

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts without renewal, in ms."""
        return int(self.settings.trading.lease_seconds * 1000)
