"""The queue of alerts reaches every channel at least once, whatever fails, and is trimmed only below what all have."""

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tasks.alerts import queue
from tasks.alerts.building import Configured, configured_channels
from tasks.alerts.deliverer import Deliverer
from tasks.alerts.gate import Rules
from tasks.alerts.manager import AlertManager
from tasks.alerts.models import Alert, AlertKind, AlertLevel, ChannelError, Message
from tasks.base.cancelling import cancel_and_wait
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.load import from_values
from tasks.views.render import status_table
from tasks.views.steps import read_status
from tests.support.alert_servers import BOT_TOKEN, CHAT, PUSH_TOKEN, bot_api, push_plus
from tests.support.alert_worker import start_deliverer
from tests.support.waiting import until_so

KEYS = Keys("main")
RULES = Rules(AlertLevel.INFO, {}, repeat_ms=0, per_minute=600, quiet=None, zone=UTC)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Pretend:
    """A channel that keeps its messages. `refuses`: why it takes none."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.refuses = ""
        self.hangs = False

    async def send(self, message: Message) -> None:
        """Keep it, fail, or hang."""
        if self.hangs:
            await asyncio.sleep(3600)
        if self.refuses:
            raise ChannelError(self.refuses)
        self.sent.append(message.text)


class Crew:
    """A deliverer with pretended channels and a clock. Sleeping moves the clock."""

    def __init__(self, redis: RedisClient, rules: Rules = RULES, names: tuple[str, ...] = ("a", "b")) -> None:
        self.redis, self.clock, self.rules = redis, Clock(), rules
        self.channels = {name: Pretend() for name in names}

    def deliverer(self) -> Deliverer:
        """A further worker."""
        named: Any = {name: Configured(each, self.rules) for name, each in self.channels.items()}  # type: ignore[arg-type]
        return Deliverer(self.redis, KEYS, named, clock=self.clock, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)
        await asyncio.sleep(0.005)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Deliverer]:
        """A worker that delivers."""
        deliverer = self.deliverer()
        task = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            await deliverer.finish(0)
            await cancel_and_wait([task])

    async def delivered(self, name: str, count: int) -> list[str]:
        """The messages of a channel once there are so many."""

        async def enough() -> bool:
            return len(self.channels[name].sent) >= count

        await until_so(enough, what=f"{count} messages in {name}, has {self.channels[name].sent}")
        return self.channels[name].sent


async def append(redis: RedisClient, *titles: str, level: AlertLevel = AlertLevel.ERROR, **more: Any) -> None:
    """Append an alert for each title."""
    alerts = [Alert(level=level, title=title, message="why", **more) for title in titles]
    await queue.append(redis, KEYS, [queue.Raised(alert) for alert in alerts])


async def waits(redis: RedisClient, count: int) -> bool:
    """Whether so many alerts wait for channel a."""
    return (await queue.waiting(redis, KEYS)).get("a") == count


async def has_stepped(deliverer: Deliverer) -> bool:
    """Whether it has looked at what an earlier worker left."""
    return any(outlet.steps for outlet in deliverer._outlets)


async def all_settled(redis: RedisClient) -> bool:
    """Whether no group has anything left."""
    return not any((await queue.waiting(redis, KEYS)).values())


async def test_every_channel_gets_every_alert_and_the_queue_is_trimmed(redis: RedisClient) -> None:
    """In order, one message each; then nothing is left."""
    crew = Crew(redis)
    await append(redis, "one", "two")
    async with crew.running() as deliverer:
        assert await crew.delivered("a", 2) == ["[ERROR] one\n\nwhy", "[ERROR] two\n\nwhy"]
        await crew.delivered("b", 2)
        await until_so(lambda: all_settled(redis))
        await deliverer.tidy_once()
        assert await redis.xlen(KEYS.alerts) == 0


async def test_a_dead_channel_keeps_its_alerts_and_does_not_stop_the_others(
    redis: RedisClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failures are logged once a reason, counted and in the status. Trimming stops below its oldest alert."""
    monkeypatch.setattr(logging.getLogger("tasks"), "propagate", True)
    crew = Crew(redis)
    crew.channels["b"].refuses = "refused"
    async with crew.running() as deliverer:
        await append(redis, *(f"n{n}" for n in range(20)))
        await crew.delivered("a", 20)
        await until_so(lambda: failures(redis, 3))
        crew.channels["b"].refuses = "timed out"
        await until_so(lambda: failures(redis, 9))
        await until_so(lambda: shows(redis, (0, 20, ""), (20, 0, "timed out")), what="the status")
        await deliverer.tidy_once()
        view = await read_status(from_values({}), redis)
        console = Console(width=200, record=True, file=StringIO())
        console.print(status_table(view))
        assert "b 0 sent, 20 waiting, FAILS since" in console.export_text()
        assert await redis.xlen(KEYS.alerts) == 20
        crew.channels["b"].refuses = ""
        assert len(await crew.delivered("b", 20)) == 20
        await until_so(lambda: all_settled(redis))
    records = {id(record): record for record in caplog.records}.values()  # more than one logger may have the handler
    logged = [getattr(record, "error", "") for record in records if "the alert channel fails" in record.message]
    assert logged == ["refused", "timed out"]


async def test_the_backlog_of_a_dead_channel_is_bounded_and_what_was_lost_is_told(redis: RedisClient) -> None:
    """The oldest go, in any order of reading; the count survives a new worker; then the newest come, after the tale."""
    crew = Crew(redis, RULES._replace(backlog=100))
    crew.channels["b"].refuses = "refused"
    async with crew.running() as deliverer:
        await append(redis, *(f"n{n:03}" for n in range(130)))
        await crew.delivered("a", 130)
        await until_so(lambda: dropped(redis, 30))
        await deliverer.tidy_once()
        assert await redis.xlen(KEYS.alerts) == 100, "what was dropped leaves Redis"
    await append(redis, *(f"n{n:03}" for n in range(130, 150)), level=AlertLevel.CRITICAL)
    async with crew.running() as deliverer:
        await until_so(lambda: dropped(redis, 50))
        await deliverer.tidy_once()
        console = Console(width=200, record=True, file=StringIO())
        console.print(status_table(await read_status(from_values({}), redis)))
        assert "b 0 sent, 100 waiting, 50 dropped, FAILS since" in console.export_text()
        crew.channels["b"].refuses = ""
        sent = await crew.delivered("b", 101)
        await until_so(lambda: all_settled(redis))
    tale, *rest = [text.splitlines() for text in sent]
    assert tale[0] == "[ERROR] 50 alerts were dropped while this channel failed"
    assert "More than 100 waited" in tale[2]
    assert tale[-1] == "and 30 more"
    assert [lines[0].split()[-1] for lines in rest] == [f"n{n:03}" for n in range(50, 150)]
    assert len(await crew.delivered("a", 150)) == 150, "the other channel lost nothing"


async def dropped(redis: RedisClient, count: int) -> bool:
    """Whether channel b dropped so many, and no more."""
    view = await read_status(from_values({}), redis)
    return any(one.name == "b" and one.dropped == count for one in view.alert_channels)


async def shows(redis: RedisClient, *expected: tuple[int, int, str]) -> bool:
    """Whether the status shows these numbers of alerts waiting and delivered, and this error, for each channel."""
    view = await read_status(from_values({}), redis)
    return [(one.waiting, one.delivered, one.error) for one in view.alert_channels] == list(expected)


async def failures(redis: RedisClient, count: int) -> bool:
    """Whether channel b failed so often."""
    view = await read_status(from_values({}), redis)
    return any(one.name == "b" and one.failures >= count for one in view.alert_channels)


async def test_a_hanging_channel_holds_up_nobody(redis: RedisClient) -> None:
    """The other channel and `send_alert` go on."""
    crew = Crew(redis)
    crew.channels["b"].hangs = True
    async with crew.running():
        await append(redis, "one")
        await crew.delivered("a", 1)
        await append(redis, "two")
        await crew.delivered("a", 2)
        assert crew.channels["b"].sent == []


async def test_what_is_held_back_comes_in_a_digest_and_nothing_is_lost(redis: RedisClient) -> None:
    """Two singles, then the rate limit; repeats within their window; each alert is in one message."""
    crew = Crew(redis, RULES._replace(per_minute=2), names=("a",))
    await append(redis, *(f"n{n:02}" for n in range(30)))
    async with crew.running():
        sent = await crew.delivered("a", 3)
        assert [text.splitlines()[0] for text in sent] == [
            "[ERROR] n00",
            "[ERROR] n01",
            "[ERROR] 28 alerts were held back",
        ]
        await until_so(lambda: all_settled(redis))
    crew.rules = RULES._replace(repeat_ms=600_000)
    crew.channels["a"].sent.clear()
    async with crew.running():
        await append(redis, *["same"] * 5)
        sent = await crew.delivered("a", 2)
        assert sent[1].splitlines()[0] == "[ERROR] 4 alerts were held back"


async def test_quiet_hours_hold_all_but_critical_alerts(redis: RedisClient) -> None:
    """At their end comes one digest."""
    crew = Crew(redis, RULES._replace(quiet=(11 * 60, 13 * 60)), names=("a",))
    await append(redis, "one", "two")
    await append(redis, "fire", level=AlertLevel.CRITICAL)
    async with crew.running():
        sent = await crew.delivered("a", 1)
        assert sent == ["[CRITICAL] fire\n\nwhy"]
        assert crew.clock.now.hour == 12
        crew.clock.now += timedelta(hours=1)
        assert (await crew.delivered("a", 2))[1].splitlines()[0] == "[ERROR] 2 alerts were held back"


async def test_another_worker_goes_on_with_what_the_first_had_read(redis: RedisClient) -> None:
    """What was sent is not sent again, also what the repeat window knows; what was held back is."""
    crew = Crew(redis, RULES._replace(repeat_ms=6 * 3_600_000), names=("a",))
    await append(redis, "same", "same", "same")
    async with crew.running():
        await until_so(lambda: waits(redis, 2))
    assert len(crew.channels["a"].sent) == 1
    async with crew.running() as second:
        await until_so(lambda: has_stepped(second))
        crew.clock.now += timedelta(hours=6)
        assert (await crew.delivered("a", 2))[1].startswith("[ERROR] 2 alerts were held back")
        await until_so(lambda: all_settled(redis))


async def test_only_one_worker_delivers(redis: RedisClient) -> None:
    """The other waits until the first has ended, and then takes over at once."""
    crew = Crew(redis, names=("a",))
    async with crew.running() as second:
        await append(redis, "one")
        await crew.delivered("a", 1)
        async with crew.running():
            await append(redis, "two")
            await crew.delivered("a", 2)
        assert second.leadership.fence is not None
        await append(redis, "three")
        assert len(await crew.delivered("a", 3)) == 3


async def test_an_alert_with_a_key_is_raised_once(redis: RedisClient) -> None:
    """A leader that was killed between reading an event and noting it raises the alert again: it is there already."""
    alert = Alert(level=AlertLevel.INFO, title="t", message="m")
    raised = [queue.Raised(alert, "event-1"), queue.Raised(alert, "event-2")]
    assert await queue.append(redis, KEYS, raised, fence=None, state={"events": "1-1"}) == 2
    assert await queue.append(redis, KEYS, [*raised, queue.Raised(alert, "event-3")]) == 1
    assert await redis.hget(KEYS.alerts_state, "events") == "1-1"


async def test_an_old_leader_raises_nothing(redis: RedisClient) -> None:
    """Its fence is an old one."""
    old = Crew(redis).deliverer().leadership
    assert await old.take()
    fence = old.fence
    await old.end()
    assert await Crew(redis).deliverer().leadership.take()
    raised = [queue.Raised(Alert(level=AlertLevel.INFO, title="t", message="m"))]
    assert await queue.append(redis, KEYS, raised, fence=fence, state={"events": "9-9"}) == -1
    assert await redis.exists(KEYS.alerts, KEYS.alerts_state) == 0


async def test_without_a_channel_nothing_is_kept(redis: RedisClient) -> None:
    """Nobody would ever read it."""
    await AlertManager.from_settings(from_values({}), redis).send_alert(AlertLevel.ERROR, "t", "m")
    assert await redis.exists(KEYS.alerts) == 0


async def test_no_secret_reaches_the_queue(redis: RedisClient) -> None:
    """Whatever field of the settings it is in, and wherever in the alert it stands."""
    secret = {"token": BOT_TOKEN, "chat_id": str(CHAT)}
    email = {
        "host": "mail.example.org",
        "user": "robot-9",
        "password": "pass-word-1",
        "recipients": ["ann@example.com"],
    }
    values = {
        "exchange": {"api_key": "key-0001", "secret": "secret-0002", "password": "phrase-0003"},
        "redis_url": "redis://:redis-0004@127.0.0.1:6379",
        "database_url": "postgresql+asyncpg://u:base-0005@h/n",
        "alerts": {
            "telegram": secret | {"allowed_chats": ["555000111"]},
            "pushplus": {"token": PUSH_TOKEN},
            "email": email | {"sender": "bot@example.com"},
            "apprise": {"urls": ["ntfy://topic-0006"]},
            "heartbeat_url": "https://hc.example.com/uuid-0007",
        },
    }
    secrets = ["key-0001", "secret-0002", "phrase-0003", "redis-0004", "base-0005", "ntfy://topic-0006", BOT_TOKEN]
    secrets += ["https://hc.example.com/uuid-0007", "pass-word-1"]
    secrets += [str(CHAT), "555000111", PUSH_TOKEN, "mail.example.org", "robot-9", "ann@example.com", "bot@example.com"]
    manager = AlertManager.from_settings(from_values(values), redis)
    assert sorted(manager.channels) == ["apprise", "email", "pushplus", "telegram"]
    text = " ".join(secrets)
    await manager.send_alert(AlertLevel.ERROR, text, text, context={text: [text, {"url": f"https://x/bot{text}"}]})
    stored: Any = await redis.xrange(KEYS.alerts)
    assert "***" in str(stored)
    assert [one for one in secrets if one in str(stored)] == []


async def test_ten_thousand_alerts_and_three_kills_lose_nothing(redis: RedisClient, redis_url: str) -> None:
    """Each is in a message or counted in a digest, and a kill costs a channel at most one message twice."""
    async with bot_api() as bot, push_plus() as push:
        rules = {"per_minute": 5, "repeat_minutes": 0}
        alerts = {
            "telegram": {"token": BOT_TOKEN, "chat_id": str(CHAT), "api_url": bot.url, **rules},
            "pushplus": {"token": PUSH_TOKEN, "api_url": push.url, **rules},
        }
        assert len(configured_channels(from_values({"alerts": alerts}))) == 2
        total, kills = 10_000, 3
        raised = [
            queue.Raised(Alert(level=AlertLevel.ERROR, title=f"n{n}", message="why", kind=AlertKind.ORDER_FAILED))
            for n in range(total)
        ]

        def sent() -> tuple[list[str], list[str]]:
            return bot.texts, [one["content"] for one in push.sent]

        for part in range(kills + 1):
            for first in range(0, total // 4, 500):
                begin = part * total // 4 + first
                await queue.append(redis, KEYS, raised[begin : begin + 500])
            before = [len(texts) for texts in sent()]
            process = await asyncio.to_thread(start_deliverer, redis_url, "main", alerts)

            async def enough(before: list[int] = before) -> bool:
                return all(len(texts) > count + 2 for texts, count in zip(sent(), before, strict=True))

            await until_so(enough, what="both channels to deliver")
            if part == kills:
                await until_so(lambda: all_settled(redis), 20, "the rest")
            process.kill()
            process.join()
        for texts in sent():
            repeated = len(texts) - len(set(texts))
            counts = [_alerts_in(text) for text in set(texts)]
            assert _is_told_at_most_twice(counts, total, kills - repeated), (sum(counts), repeated)


def _is_told_at_most_twice(counts: Sequence[int], total: int, messages: int) -> bool:
    """Whether all alerts are told, and without at most so many messages each is told once.

    A digest that a kill repeats may hold more by then, and so has another text.
    """
    digests, more = [count for count in counts if count > 1], sum(counts) - total
    singles = len(counts) - len(digests)
    return any(
        0 <= more - sum(some) <= min(messages - size, singles)
        for size in range(min(messages, len(digests)) + 1)
        for some in itertools.combinations(digests, size)
    )


def _alerts_in(text: str) -> int:
    """alerts in."""
    held = re.match(r"\[ERROR\] (\d+) alerts were held back", text)
    return int(held[1]) if held else 1
