"""The account's daily loss limit: it pauses once, says why, and the next day counts anew."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.control.daily_loss import watch_daily_loss
from tasks.control.steps import resume
from tests.support.desk import settings

KEYS = Keys("main")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


async def test_a_lost_day_pauses_buys_until_an_operator_resumes(redis: RedisClient) -> None:
    """The limit counts from the first look of the day, and fires at most once a day."""
    own, now = settings(daily_loss_quote="100"), NOON

    async def look(profit: str) -> bool:
        return await watch_daily_loss(redis, own, Decimal(profit), lambda: now)

    assert not await look("50")
    assert not await look("-49.99")
    assert await look("-50")
    assert await redis.hget(KEYS.funds, "paused") == "1"
    newest: Any = await redis.xrevrange(KEYS.events, count=1)
    ((_, event),) = newest
    assert event["type"] == "stop_fired"
    assert json.loads(event["body"])["why"] == "the account has lost 100.00 USDT since 00:00 UTC"
    await resume(redis, own)
    assert not await look("-400"), "an operator has decided; the day does not fire again"
    assert await redis.hget(KEYS.funds, "paused") == "0"
    now = NOON + timedelta(days=1)
    assert not await look("-400"), "a new day counts from here"
    assert await look("-500.5")


async def test_without_a_limit_nothing_is_paused(redis: RedisClient) -> None:
    """Whatever is lost."""
    for profit in ("0", "-5000"):
        assert not await watch_daily_loss(redis, settings(), Decimal(profit), lambda: NOON)
    assert await redis.hget(KEYS.funds, "paused") is None
