"""What every trader of a process shares."""

from dataclasses import dataclass

from tasks.base.clock import Clock, utc_now
from tasks.base.keys import Keys
from tasks.base.redis import RedisClient
from tasks.base.settings import Settings
from tasks.exchange.port import ExchangePort
from tasks.funds.allocator import GlobalFundAllocator


@dataclass(frozen=True)
class Desk:
    """Settings, Redis, exchange and pot of one process."""

    settings: Settings
    redis: RedisClient
    exchange: ExchangePort
    allocator: GlobalFundAllocator
    keys: Keys
    clock: Clock = utc_now

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts without renewal."""
        return int(self.settings.trading.lease_seconds * 1000)
