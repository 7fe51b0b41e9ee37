"""Logs: pages of the newest records of all workers or of one file, and a live stream."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BeforeValidator

from dashboard.api.amounts import Answer, moment
from dashboard.api.hub import LiveEvent, Place, Stream
from dashboard.api.problems import Problem
from dashboard.api.security import listener, operator
from dashboard.connection import reader
from dashboard.present.log_lines import matching
from tasks.base.redis_client import RedisClient
from tasks.settings.environment import state_dir
from tasks.views import log_files, store
from tasks.views.line_models import LogLine

router = APIRouter(prefix="/logs", tags=["logs"])
_ALL = 100_000


class Level(StrEnum):
    """A level of log records."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class LogItem(Answer):
    """One record. `time` is null where the line has none."""

    id: str
    time: datetime | None
    level: str
    source: str
    logger: str
    message: str
    fields: dict[str, str]

    @classmethod
    def of(cls, line: LogLine) -> "LogItem":
        """A record as the API shows it."""
        time = moment(line.at_ms) if line.at_ms else None
        values = line.model_dump(include={"id", "level", "source", "logger", "message"})
        return cls(time=time, fields=dict(line.fields), **values)


class LogPage(Answer):
    """A page of records, the newest first."""

    total: int
    page: int
    page_size: int
    items: list[LogItem]


class LogFiles(Answer):
    """Names of log files."""

    files: list[str]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


@router.get("/list", dependencies=[Depends(operator)])
def logs(
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    level: Annotated[Level | None, BeforeValidator(_upper), Query(description="in any case")] = None,
    keyword: Annotated[str, Query(max_length=200, description="in the message, logger, source or fields")] = "",
    file: Annotated[str | None, Query(max_length=100, description="a name of /api/logs/files; absent: Redis")] = None,
) -> LogPage:
    """A page of the newest records of all workers, or of a file."""
    found = _of_file(file) if file is not None else _of_redis()
    if level is not None:
        found = [line for line in found if line.level == level.value]
    found = matching(found, keyword)
    items = [LogItem.of(line) for line in found[(page - 1) * page_size : page * page_size]]
    return LogPage(total=len(found), page=page, page_size=page_size, items=items)


def _of_redis() -> list[LogLine]:
    source = reader()

    async def ask(redis: RedisClient) -> list[LogLine]:
        return list(await store.logs(redis, source.keys, _ALL))

    return source.read(ask)


def _of_file(name: str) -> list[LogLine]:
    try:
        return log_files.file_lines(state_dir(), name)
    except LookupError:
        raise Problem(404, "no such file; /api/logs/files names them") from None


@router.get("/files", dependencies=[Depends(operator)])
def files() -> LogFiles:
    """The log files in the state folder of this machine."""
    return LogFiles(files=log_files.log_files(state_dir()))


def translate(entry_id: str, fields: Mapping[str, str]) -> LiveEvent | None:
    """A record of the log as an event; None for what a later version wrote in another form."""
    try:
        line = store.log_line(entry_id, fields)
    except (LookupError, ValueError):
        return None
    return LiveEvent(entry_id, "log", LogItem.of(line).model_dump(mode="json"))


STREAM = Stream(lambda keys: keys.log, translate)


@router.get("/stream", response_class=EventSourceResponse, dependencies=[Depends(listener)])
async def stream(place: Annotated[Place | None, Depends(STREAM.ready)]) -> AsyncIterator[ServerSentEvent]:
    """Events log and heartbeat. Last-Event-ID replays."""
    async for event in STREAM.events(place):
        yield event
