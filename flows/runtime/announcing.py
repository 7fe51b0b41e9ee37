"""Events that a process tells of itself: it stopped, or it failed."""

import logging
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from tasks.base.clock import utc_now
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redaction import Redactor
from tasks.base.redis_client import connect
from tasks.settings.model import Settings
from tasks.settings.secret_values import hidden_texts, secret_texts
from tasks.tick.stopping import StopReport

log = logging.getLogger(__name__)


async def announce(redis_url: str, keys: Keys, kind: EventKind, facts: Mapping[str, Any]) -> None:
    """Publish an event. Without Redis only the log has it."""
    redis = connect(redis_url, impatient=True)
    try:
        await publish_event(redis, keys, kind, dict(facts))
    except (RedisError, OSError) as error:
        log.warning("an event was not stored", extra={"kind": kind.value, "error": str(error)})
    finally:
        await redis.aclose()


def stop_facts(account: str, report: StopReport, *, ends: bool) -> dict[str, Any]:
    """What a stop has left. `ends`: the process ends too."""
    facts = {"account": account, "left": str(report), "orders_open": len(report.orders_open)}
    return facts | {"reserved": plain(report.reserved), "ends": ends}


def crash_facts(settings: Settings, error: BaseException, **facts: str) -> dict[str, str]:
    """What to say of an error, without secrets."""
    said = Redactor(hidden_texts(secret_texts(settings))).text(str(error))
    return {"error_type": type(error).__name__, "error": said, "at": utc_now().isoformat(), **facts}
