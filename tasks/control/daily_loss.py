"""Pauses the pot where the account has lost too much in a day."""

import logging
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.control.actions import Actor
from tasks.control.steps import pause
from tasks.risk.day import DayMarks, judge_day
from tasks.settings.model import Settings

log = logging.getLogger(__name__)


async def watch_daily_loss(redis: RedisClient, settings: Settings, profit: Decimal, clock: Clock = utc_now) -> bool:
    """Pause buys of every symbol where the day's loss reaches `daily_loss_quote`; whether it did now.

    `profit`: of the account since its books were opened, in quote. The pause holds until an operator resumes.
    """
    keys = Keys(settings.account)
    text = await redis.get(keys.day_marks)
    before = DayMarks.model_validate_json(text) if text else None
    marks, loss = judge_day(before, profit, settings.daily_loss_quote, to_ms(clock()))
    if loss is not None:  # before the mark: a worker that dies in between pauses again
        why = f"the account has lost {loss:.2f} {settings.quote} since 00:00 UTC"
        await pause(redis, settings, by=Actor.RULE, once=f"daily loss {marks.day}")
        facts = {"symbol": "all symbols", "stop": "daily loss", "why": why, "exit": "keep", "resume": "gridflow resume"}
        log.error("daily loss limit reached: no new buys", extra={"loss": plain(loss)})
        await publish_event(redis, keys, EventKind.STOP_FIRED, facts | {"loss": plain(loss)})
    if marks != before:
        await redis.set(keys.day_marks, marks.model_dump_json())
    return loss is not None
