"""What an account has done with the exchange and its log, counted over all workers, and its rate budget now."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import Field

from tasks.base.clock import Clock, utc_now
from tasks.base.keys import AddressKeys, Keys
from tasks.base.log_setup import utc_day
from tasks.base.redis_client import RedisClient
from tasks.exchange.call_counts import CALLS, ERRORS
from tasks.exchange.limits.token_bucket import REFILL, TokenBucket
from tasks.exchange.venues.registry import venue_of
from tasks.settings.model import Settings
from tasks.views.view import View


class ActivityView(View):
    """Counts since the books were opened, by name. `budget`: bucket → share that is free now, 0 to 1."""

    calls: Mapping[str, int] = Field(default_factory=dict)  # method of ccxt → calls
    errors: Mapping[str, int] = Field(default_factory=dict)  # kind of error → failed calls
    log: Mapping[str, int] = Field(default_factory=dict)  # level → warnings and errors
    log_today: Mapping[str, int] = Field(default_factory=dict)  # the same of this UTC day
    budget: Mapping[str, Decimal] = Field(default_factory=dict)  # account, address; empty without requests of late
    banned_ms: int = 0  # how long the exchange allows no requests

    @property
    def lowest_budget(self) -> Decimal | None:
        """The share that is left of the scarcer bucket."""
        return min(self.budget.values(), default=None)


def grouped(counters: Mapping[str, str], group: str) -> dict[str, int]:
    """The counters `group|name`, by name."""
    return {
        name.partition("|")[2]: int(count) for name, count in sorted(counters.items()) if name.startswith(f"{group}|")
    }


def free_share(bucket: TokenBucket, stored: Mapping[str, str], now_ms: int) -> Decimal | None:
    """The share of a bucket that is free now; None while nothing is stored: it is full and has expired."""
    if "left" not in stored:
        return None
    refilled = float(stored["left"]) + max(now_ms - float(stored["at"]), 0) * REFILL
    return Decimal(str(round(min(max(refilled, 0), bucket.capacity) / bucket.capacity, 4)))


async def read_activity(settings: Settings, redis: RedisClient, clock: Clock = utc_now) -> ActivityView:
    """Read it, in one round trip."""
    keys, exchange = Keys(settings.account), settings.exchange
    address = AddressKeys(exchange.id + ("-sandbox" if exchange.sandbox else ""))
    limits = venue_of(exchange.id).rate_limits
    buckets = {
        "account": TokenBucket(keys.budget, keys.ban, limits.account_window_ms),
        "address": TokenBucket(address.budget, address.ban, limits.address_window_ms),
    }
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.counters)
        pipe.hgetall(keys.log_counts(utc_day(clock().timestamp())))
        pipe.time()
        pipe.mget([keys.ban])
        for bucket in buckets.values():
            pipe.hgetall(bucket.key)
        answers: list[Any] = await pipe.execute()
    counters, today, (seconds, micros), (ban,), *stored = answers
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    free = {
        name: free_share(bucket, kept, now_ms) for (name, bucket), kept in zip(buckets.items(), stored, strict=True)
    }
    return ActivityView(
        calls=grouped(counters, CALLS),
        errors=grouped(counters, ERRORS),
        log=grouped(counters, "log"),
        log_today={level: int(count) for level, count in today.items()},
        budget={name: share for name, share in free.items() if share is not None},
        banned_ms=max(int(str(ban).split(" ")[0]) - now_ms, 0) if ban else 0,
    )
