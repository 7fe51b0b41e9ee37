"""`GET /api/sse/events`: what happens, as server-sent events."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from dashboard.api.hub import LiveEvent, Place, Stream
from dashboard.api.security import listener
from dashboard.connection import reader
from tasks.base.outbox import RecordKind
from tasks.base.redis_client import RedisClient
from tasks.views.quick import quick_stats

router = APIRouter(prefix="/sse", tags=["events"], dependencies=[Depends(listener)])
_NAMES: Mapping[str, str] = {
    RecordKind.FILL: "fill",
    RecordKind.ORDER: "order",
    RecordKind.REBALANCE: "allocation",
    RecordKind.BLOCKED: "blocked",
    RecordKind.EVENT: "alert",
}


def translate(entry_id: str, fields: Mapping[str, str]) -> LiveEvent | None:
    """A record as an event; None for what no client needs."""
    kind, body = fields.get("kind", ""), fields.get("body", "")
    name = _NAMES.get(kind)
    if name is None:
        return None
    if kind == RecordKind.EVENT:
        event, _, body = body.partition("|")
        return LiveEvent(entry_id, name, {"kind": event, "facts": _json(body)})
    return LiveEvent(entry_id, name, _json(body))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"unreadable": text[:200]}


async def _status(redis: RedisClient) -> LiveEvent:
    found = await quick_stats(reader().settings, redis)
    return LiveEvent("", "status", found.stats.model_dump(mode="json"))


STREAM = Stream(lambda keys: keys.live, translate, _status)


@router.get("/events", response_class=EventSourceResponse)
async def events(place: Annotated[Place | None, Depends(STREAM.ready)]) -> AsyncIterator[ServerSentEvent]:
    """Events fill, order, allocation, blocked, alert, status (each 5 s), heartbeat. Last-Event-ID replays."""
    async for event in STREAM.events(place):
        yield event
