"""Live events for many clients: one reader of a Redis stream, and a bounded queue for each client.

An event's id is that of its stream entry, so a client that comes back names the last one it has seen and gets what
came after it. A client that does not keep up is dropped, and told so; it never slows others down.
"""

import asyncio
import json
import logging
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

from fastapi import Header
from fastapi.sse import ServerSentEvent
from redis.exceptions import RedisError

from dashboard.api.problems import Problem
from dashboard.connection import current_redis_url, reader
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.settings.model import Settings

log = logging.getLogger(__name__)
QUEUE = 1000  # events that may wait for a client
MOST_CLIENTS = 1000
HEARTBEAT_SECONDS = 10.0
_BLOCK_MS = 1000
_RETRY_SECONDS = 1.0


class LiveEvent(NamedTuple):
    """One event. `entry_id`: '' where it cannot be asked for again."""

    entry_id: str
    name: str
    data: Any


Place = tuple[int, int]


def place_of(entry_id: str) -> Place:
    """The place of a stream entry. Raises ValueError for what is no id."""
    at_ms, _, number = entry_id.partition("-")
    return int(at_ms), int(number or 0)


class Client:
    """One listener's queue. `dropped`: it did not keep up."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[LiveEvent | None] = asyncio.Queue(QUEUE)
        self.dropped = False

    def give(self, event: LiveEvent | None) -> None:
        """Add an event; None ends the stream. Where the queue is full, the client is dropped."""
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped = True
            while not self.events.empty():
                self.events.get_nowait()
            self.events.put_nowait(None)


Translate = Callable[[str, Mapping[str, str]], LiveEvent | None]
Extra = Callable[[RedisClient], Awaitable[LiveEvent]]


class Hub:
    """Reads one stream for all clients, while there are any."""

    def __init__(
        self,
        settings: Settings,
        stream: Callable[[Keys], str],
        translate: Translate,
        extra: Extra | None = None,
        every_seconds: float = 5.0,
    ) -> None:
        """`translate`: an entry as an event, None to leave it out. `extra`: an event of its own, each few seconds."""
        self._settings, self._stream, self._translate = settings, stream(Keys(settings.account)), translate
        self._extra, self._every = extra, every_seconds
        self._clients: set[Client] = set()
        self._guard = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def clients(self) -> int:
        """How many listen now."""
        return len(self._clients)

    def ready(self, last_id: str | None) -> Place | None:
        """The place from which a new client listens; None: from now on.

        Raises Problem: 422 for an id that is none, 503 where too many listen, the process ends, or no Redis is known.
        A stream that has begun can no longer answer with an error, so this is asked before it begins.
        """
        try:
            place = place_of(last_id) if last_id else None
        except ValueError:
            raise Problem(422, f"Last-Event-ID: {last_id!r} is no id of an event") from None
        if self._ended:
            raise Problem(503, "the server is ending", {"Retry-After": "5"})
        if len(self._clients) >= MOST_CLIENTS:
            raise Problem(503, f"{MOST_CLIENTS} clients listen already", {"Retry-After": "30"})
        current_redis_url(self._settings)
        return place

    async def listen(self, place: Place | None) -> AsyncIterator[LiveEvent]:
        """The events after `place`, until the client goes or the process ends."""
        client = await self._join()
        try:
            async for event in self._missed(client, place):
                yield event
                place = place_of(event.entry_id)
            while (event_or_end := await self._next(client)) is not None:
                if event_or_end.entry_id and place is not None and place_of(event_or_end.entry_id) <= place:
                    continue
                yield event_or_end
            if client.dropped:
                yield LiveEvent("", "dropped", {"why": f"more than {QUEUE} events waited for this client"})
        finally:
            await self._leave(client)

    async def _next(self, client: Client) -> LiveEvent | None:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                return await client.events.get()
        except TimeoutError:
            return LiveEvent("", "heartbeat", {})

    async def _missed(self, client: Client, place: Place | None) -> AsyncIterator[LiveEvent]:
        """What came after the place, as far as the stream still has it."""
        if place is None:
            return
        redis = self._connect()
        try:
            oldest: Any = await redis.xrange(self._stream, count=1)
            if oldest and place_of(oldest[0][0]) > place:
                client.give(LiveEvent("", "gap", {"why": "events since then are no longer here; read the lists again"}))
            entries: Any = await redis.xrange(self._stream, min=f"({place[0]}-{place[1]}")
        except (RedisError, OSError):
            client.give(LiveEvent("", "gap", {"why": "Redis does not answer; events since then may be missing"}))
            return
        finally:
            await redis.aclose()
        for entry_id, fields in entries:
            event = self._translate(str(entry_id), fields)
            if event is not None:
                yield event

    async def _join(self) -> Client:
        async with self._guard:
            client = Client()
            if self._ended:
                client.give(None)
                return client
            if self._reader is None or self._reader.done():
                redis = self._connect()
                ready = asyncio.Event()
                self._reader = asyncio.create_task(self._read(redis, ready), name=f"live {self._stream}")
                with suppress(TimeoutError):
                    await asyncio.wait_for(ready.wait(), 2)
            self._clients.add(client)
            return client

    async def _leave(self, client: Client) -> None:
        self._clients.discard(client)
        if not self._clients and self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def _connect(self) -> RedisClient:
        return connect(current_redis_url(self._settings))

    async def _read(self, redis: RedisClient, ready: asyncio.Event) -> None:
        """Until the last client has gone. Redis may be away meanwhile: it is asked again."""
        after = ""
        told = float("-inf")
        now = asyncio.get_running_loop().time
        try:
            while True:
                try:
                    if not after:
                        newest: Any = await redis.xrevrange(self._stream, count=1)
                        after = str(newest[0][0]) if newest else "0-0"
                        ready.set()
                    if self._extra is not None and now() - told >= self._every:
                        told = now()
                        self._give(await self._extra(redis))
                    answer: Any = await redis.xread({self._stream: after}, block=_BLOCK_MS)
                except (RedisError, OSError, ValueError) as error:
                    log.warning("live events: Redis does not answer", extra={"error": type(error).__name__})
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                for entry_id, fields in _entries(answer):
                    after = entry_id
                    event = self._translate(entry_id, fields)
                    if event is not None:
                        self._give(event)
        finally:
            await redis.aclose()

    def _give(self, event: LiveEvent) -> None:
        for client in tuple(self._clients):
            client.give(event)

    def end(self) -> None:
        """End every stream: the process is about to end. For the loop's own thread."""
        self._ended = True
        for client in tuple(self._clients):
            client.give(None)


class Stream:
    """One stream of the process for all its clients: the hub is made with the first client, and ends with the process.

    `ready` is what a route depends on: where a client begins.
    """

    def __init__(self, stream: Callable[[Keys], str], translate: Translate, extra: Extra | None = None) -> None:
        """As for `Hub`, of the reader's account."""
        self._parts = stream, translate, extra
        self._hub: Hub | None = None

    def hub(self) -> Hub:
        """The process's hub. For the server's main thread."""
        if self._hub is None:
            self._hub = Hub(reader().settings, *self._parts)
            end_with_the_process(self._hub.end)
        return self._hub

    def forget(self) -> None:
        """Make a new hub for the next client."""
        self._hub = None

    async def ready(self, last_event_id: Annotated[str | None, Header(max_length=40)] = None) -> Place | None:
        """Where a client begins. Raises Problem."""
        return self.hub().ready(last_event_id)

    async def events(self, place: Place | None) -> AsyncIterator[ServerSentEvent]:
        """The events after that place, as they go over the wire."""
        async for event in self.hub().listen(place):
            yield ServerSentEvent(event=event.name, id=event.entry_id or None, raw_data=json.dumps(event.data))


def _entries(answer: Any) -> list[tuple[str, Mapping[str, str]]]:
    """The entries of an answer of XREAD to one stream, in either of redis-py's forms."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or []]
    found = []
    for entries in streams:
        for entry in entries[0] if entries and isinstance(entries[0], list) else entries:
            found.append((str(entry[0]), entry[1]))
    return found


def end_with_the_process(end: Callable[[], None]) -> None:
    """Call `end` at SIGTERM and SIGINT, before the server's own handler: a server waits for streams that are open.

    For the main thread of a server that has set its handlers; elsewhere nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def handle(signum: int, frame: Any, before: Any = before) -> None:
            loop.call_soon_threadsafe(end)
            if callable(before):
                before(signum, frame)

        signal.signal(number, handle)
