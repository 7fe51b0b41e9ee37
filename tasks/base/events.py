"""Account events: what people and alerts are told of."""

import json
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient

EVENTS_CAP = 200


async def publish_event(redis: RedisClient, keys: Keys, kind: str, facts: Any) -> None:
    """Add an event to the account's capped stream; `facts` becomes its JSON body."""
    await redis.xadd(keys.events, {"type": kind, "body": json.dumps(facts)}, maxlen=EVENTS_CAP, approximate=True)
