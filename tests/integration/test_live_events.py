"""Live events over HTTP: the same for every client, in order, replayed after a break; a slow client slows nobody."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from httpx_sse import ServerSentEvent, aconnect_sse

from dashboard import connection
from dashboard.api import events, hub, logs, security
from dashboard.api.app import build_api
from dashboard.api.hub import Hub, LiveEvent
from dashboard.api.problems import Problem
from dashboard.connection import Reader
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind, fields_of
from tasks.base.redis_client import RedisClient
from tasks.control.access import Access
from tasks.history import outbox
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tests.support.servers import free_port, listens
from tests.support.waiting import until, until_so

KEYS = Keys("main")


async def append(redis: RedisClient, *numbers: int, kind: RecordKind = RecordKind.FILL) -> None:
    """Put records into the outbox and copy them to the live stream, as the archiver does."""
    for number in numbers:
        await redis.xadd(KEYS.outbox, fields_of(kind, json.dumps({"number": number})))
    await outbox.relay(redis, KEYS)


def settings(redis_url: str) -> Settings:
    """Of an account on that Redis."""
    return Settings.model_validate({"redis_url": redis_url, "dashboard": {"password": "a long password"}})


@pytest.fixture
def own_hub(redis_url: str) -> Hub:
    """A hub of its own."""
    return Hub(settings(redis_url), lambda keys: keys.live, events.translate)


class Listener:
    """Reads a hub in the background."""

    def __init__(self, source: Hub, last_id: str | None = None) -> None:
        self.got: list[LiveEvent] = []
        self.task = asyncio.create_task(self._listen(source, last_id))

    async def _listen(self, source: Hub, last_id: str | None) -> None:
        async for event in source.listen(source.ready(last_id)):
            self.got.append(event)

    @property
    def numbers(self) -> list[int]:
        """Of the fills that it got."""
        return [event.data["number"] for event in self.got if event.name == "fill"]

    async def leave(self) -> None:
        """Go away."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def listening(source: Hub, count: int) -> list[Listener]:
    """So many clients that listen."""
    found = [Listener(source) for _ in range(count)]
    await until_so(lambda: _is_at(source, count))
    return found


async def _is_at(source: Hub, count: int) -> bool:
    return source.clients == count


async def _has(listener: Listener, count: int) -> bool:
    return len(listener.numbers) >= count


async def test_a_record_is_copied_once_whoever_copies_it(redis: RedisClient) -> None:
    """Under its own id, in order; what is in the database already stays for live readers."""
    for number in range(5):
        await redis.xadd(KEYS.outbox, fields_of(RecordKind.FILL, json.dumps({"number": number})))
    entries: Any = await redis.xrange(KEYS.outbox)
    ids = [name for name, _ in entries]
    await asyncio.gather(*(outbox.relay(redis, KEYS) for _ in range(5)))
    await redis.xtrim(KEYS.outbox, maxlen=0)
    await append(redis, 5)
    copied: Any = await redis.xrange(KEYS.live)
    assert [name for name, _ in copied][:5] == ids
    assert [json.loads(fields["body"])["number"] for _, fields in copied] == list(range(6))


async def test_all_clients_get_the_same_in_order(own_hub: Hub, redis: RedisClient) -> None:
    """Two hundred of them, with one reader of Redis; each kind under its name."""
    await append(redis, 0)
    clients = await listening(own_hub, 200)
    await append(redis, *range(1, 50))
    await append(redis, 50, kind=RecordKind.BLOCKED)
    for client in clients:
        await until_so(lambda client=client: _has(client, 49))  # type: ignore[misc]
    assert all(client.numbers == list(range(1, 50)) for client in clients)
    await until_so(lambda: _names(clients[0], "blocked"))
    for client in clients:
        await client.leave()
    assert own_hub.clients == 0


async def test_a_client_that_comes_back_gets_what_it_has_missed(own_hub: Hub, redis: RedisClient) -> None:
    """Once each, then what is new. Where the stream has forgotten some of it, the client is told."""
    await append(redis, *range(10))
    entries: Any = await redis.xrange(KEYS.live)
    ids = [str(name) for name, _ in entries]
    client = Listener(own_hub, ids[3])
    await until_so(lambda: _has(client, 6))
    await append(redis, 10, 11)
    await until_so(lambda: _has(client, 8))
    assert client.numbers == list(range(4, 12))
    await redis.xtrim(KEYS.live, maxlen=2, approximate=False)
    late = Listener(own_hub, ids[3])
    await until_so(lambda: _has(late, 2))
    assert late.numbers == [10, 11]
    await until_so(lambda: _names(late, "gap"))
    with pytest.raises(Problem, match="no id of an event"):
        own_hub.ready("yesterday")
    for each in (client, late):
        await each.leave()


async def _names(listener: Listener, name: str) -> bool:
    return any(event.name == name for event in listener.got)


async def test_a_client_that_is_stuck_is_dropped_and_slows_nobody(
    own_hub: Hub, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told so, and gets nothing more."""
    monkeypatch.setattr(hub, "QUEUE", 20)
    (quick,) = await listening(own_hub, 1)
    stuck = aiter(own_hub.listen(None))
    first = asyncio.ensure_future(anext(stuck))
    await until_so(lambda: _is_at(own_hub, 2))
    for start in range(0, 60, 10):
        await append(redis, *range(start, start + 10))
        await until_so(lambda start=start: _has(quick, start + 10))  # type: ignore[misc]
    assert quick.numbers == list(range(60))
    assert (await first).data == {"number": 0}
    rest = [event async for event in stuck]
    assert [event.name for event in rest] == ["dropped"]
    await quick.leave()


async def test_a_thousand_connects_and_disconnects_leave_nothing_behind(own_hub: Hub, redis: RedisClient) -> None:
    """No client, no task, no connection to Redis."""
    await append(redis, 0)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        clients = await listening(own_hub, 50)
        await asyncio.gather(*(client.leave() for client in clients))
    await until_so(lambda: _is_at(own_hub, 0))
    await until_so(lambda: _tasks(before))
    await until_so(lambda: _connections(redis, 1))


async def _tasks(count: int) -> bool:
    return len(asyncio.all_tasks()) <= count


async def _connections(redis: RedisClient, count: int) -> bool:
    return len(await redis.client_list()) <= count


async def test_there_are_not_too_many_clients(own_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than allowed is refused, those that listen go on."""
    monkeypatch.setattr(hub, "MOST_CLIENTS", 2)
    clients = await listening(own_hub, 2)
    with pytest.raises(Problem, match="2 clients listen already"):
        own_hub.ready(None)
    for client in clients:
        await client.leave()


async def test_heartbeats_and_the_end(own_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet stream shows that it lives; the end of the process ends it."""
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)
    (client,) = await listening(own_hub, 1)
    await until_so(lambda: _beats(client))
    own_hub.end()
    await asyncio.wait_for(client.task, 5)
    with pytest.raises(Problem, match="ending"):
        own_hub.ready(None)


async def _beats(listener: Listener) -> bool:
    return sum(event.name == "heartbeat" for event in listener.got) >= 2


@pytest.fixture
def server(redis_url: str) -> Iterator[tuple[str, str]]:
    """The API under uvicorn; (its URL, a token)."""
    own = settings(redis_url)
    connection._readers[:] = [Reader(own)]
    security.access.cache_clear()
    for stream in (events.STREAM, logs.STREAM):
        stream.forget()
    access = Access(own, state_dir())
    access.begin()
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(build_api(own), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: listens(port), 10)
        yield f"http://127.0.0.1:{port}", access.token(timedelta(hours=1)).text
    finally:
        running.should_exit = running.force_exit = True
        thread.join()
        connection._readers.pop().close()


async def _events(url: str, **more: Any) -> AsyncIterator[ServerSentEvent]:
    client = httpx.AsyncClient(trust_env=False, timeout=60)
    async with client, aconnect_sse(client, "GET", url, **more) as got:
        async for event in got.aiter_sse():
            yield event


async def _fills(source: AsyncIterator[ServerSentEvent], count: int) -> list[tuple[str, str]]:
    """(id, data) of the next fills."""
    found: list[tuple[str, str]] = []
    async for event in source:
        if event.event == "fill":
            found.append((event.id, event.data))
        if len(found) == count:
            return found
    return found


async def test_over_http(server: tuple[str, str], redis: RedisClient) -> None:
    """Two clients, one with the token in the query and one with a header, get the same; a third one replays."""
    url, token = server
    header = {"Authorization": f"Bearer {token}"}
    first = _events(f"{url}/sse/events", params={"token": token})
    second = _events(f"{url}/sse/events", headers=header)
    reading = [asyncio.create_task(_fills(each, 5)) for each in (first, second)]
    await until_so(lambda: _is_at(events.STREAM.hub(), 2))
    await append(redis, *range(5))
    one, other = await asyncio.gather(*reading)
    assert one == other
    assert [json.loads(data)["number"] for _, data in one] == list(range(5))
    third = _events(f"{url}/sse/events", headers=header | {"Last-Event-ID": one[1][0]})
    assert await _fills(third, 3) == one[2:]
    for each in (first, second, third):
        await each.aclose()  # type: ignore[attr-defined]
    async with httpx.AsyncClient(trust_env=False) as client:
        for query in ({}, {"token": "x.y.z"}):
            answer = await client.get(f"{url}/sse/events", params=query)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
        answer = await client.get(f"{url}/sse/events", headers=header | {"Last-Event-ID": "yesterday"})
        assert answer.status_code == 422


async def test_logs_over_http(server: tuple[str, str], redis: RedisClient) -> None:
    """A record is there as soon as a worker has written it; what is no record is left out."""
    url, token = server
    stream = _events(f"{url}/logs/stream", params={"token": token})
    reading = asyncio.ensure_future(anext(stream))
    await until_so(lambda: _is_at(logs.STREAM.hub(), 1))
    await redis.xadd(KEYS.log, {"unknown": "form"})
    record: dict[Any, Any] = {
        "at_ms": "1700000000000",
        "level": "INFO",
        "source": "worker",
        "logger": "tasks",
        "message": "hello",
    }
    await redis.xadd(KEYS.log, record | {"fields": "{}"})
    event = await reading
    assert (event.event, json.loads(event.data)["message"]) == ("log", "hello")
    await stream.aclose()  # type: ignore[attr-defined]
