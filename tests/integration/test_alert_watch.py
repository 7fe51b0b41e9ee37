"""What happens becomes alerts, each once, whoever leads; and the heartbeat URL is called only while all is well."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from flows.runtime import alerting as alerting_module
from flows.runtime.alerting import Alerting
from tasks.alerts import queue
from tasks.alerts.manager import AlertManager
from tasks.alerts.models import AlertLevel
from tasks.alerts.watch import Watch
from tasks.base.errors import RejectReason
from tasks.base.events import EventKind, publish_event
from tasks.base.keys import AddressKeys, Keys
from tasks.base.leader import Leadership
from tasks.base.redis_client import RedisClient
from tasks.exchange.limits.breaker_store import Breakers
from tasks.exchange.limits.budget import Budget
from tasks.exchange.models import Rejected
from tasks.exchange.venues.registry import venue_of
from tasks.ledger.models import Fill
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick.heartbeat import Heartbeat, beat
from tasks.tick.trader import GridTrader
from tasks.tick.window import _tick_once, _Totals
from tasks.views.result_models import ResultsView
from tests.support.alert_servers import BOT_TOKEN, CHAT, BotApi, bot_api, push_plus
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk
from tests.support.mortal import Mortal
from tests.support.round_trips import counted_round_trips
from tests.support.waiting import until_so

KEYS = Keys("main")
TELEGRAM = {"token": BOT_TOKEN, "chat_id": str(CHAT)}


class World:
    """A desk with one symbol, and a watch over it whose clock tests move."""

    def __init__(self, redis: RedisClient, own: Settings) -> None:
        self.redis, self.own = redis, own
        self.clock = datetime.now(UTC)
        self.past: list[Fill] = []
        self.leadership = Leadership(redis, KEYS.alerts_lease, KEYS.alerts_fence)

    def watch(self) -> Watch:
        """A watch of a worker that leads."""

        manager = AlertManager.from_settings(self.own, self.redis)
        past = self if self.own.alerts.fills != "off" else None
        return Watch(self.redis, self.own, manager, self.leadership, past, lambda: self.clock)

    async def fills(self, from_ms: int, to_ms: int) -> list[Fill]:
        """Fills of the history."""
        return [one for one in self.past if from_ms <= one.at_ms < to_ms]

    async def newest_fills(self, count: int) -> list[Fill]:
        """Not asked by a watch."""
        raise AssertionError(count)

    async def results(self, name: str, from_ms: int, to_ms: int) -> ResultsView:
        """Not asked by a watch without a history."""
        raise AssertionError(name)

    async def raised(self) -> list[tuple[str, Any]]:
        """Kind and context of every alert since the last call, oldest first."""
        entries: Any = await self.redis.xrange(KEYS.alerts)
        await self.redis.delete(KEYS.alerts)
        return [(fields["kind"], json.loads(fields["body"])["context"]) for _, fields in entries]


def own(**alerts: Any) -> Settings:
    """Settings with a Telegram channel."""
    return settings(alerts={"telegram": TELEGRAM, **alerts})


@pytest.fixture
async def world(redis: RedisClient) -> World:
    """A world that has been looked at once."""
    found = World(redis, own())
    await found.leadership.take()
    await found.watch().read_events()
    return found


async def opened(redis: RedisClient) -> TestDesk:
    """A desk that has ticked once."""
    desk = await open_desk(redis, own(), {BTC: walk(60)})
    await (await desk.trader()).tick()
    return desk


async def test_events_become_alerts_once_whoever_reads_them(world: World) -> None:
    """A leader that dies after raising, or before, makes no difference. What is no alert is passed over."""
    await publish_event(world.redis, KEYS, EventKind.HISTORY_AWAY, {"why": "refused"})
    await publish_event(world.redis, KEYS, EventKind.ALLOCATION_UPDATED, {})
    await world.watch().read_events()
    await world.watch().read_events()
    assert await world.raised() == [("history_away", {"why": "refused"})]
    cursor = await world.redis.hget(KEYS.alerts_state, "events")
    await publish_event(world.redis, KEYS, EventKind.HISTORY_BACK, {"since_ms": 1})
    await world.watch().read_events()
    await world.redis.hset(KEYS.alerts_state, "events", str(cursor))  # as if it had died in between
    await world.watch().read_events()
    assert [kind for kind, _ in await world.raised()] == ["history_back"]


async def test_more_events_than_the_stream_keeps_are_told_as_a_number(world: World) -> None:
    """The stream of events is capped: what nobody read in time is counted."""
    for n in range(5):
        await publish_event(world.redis, KEYS, EventKind.ALLOCATION_UPDATED, {"n": n})
    await world.redis.xtrim(KEYS.events, maxlen=2, approximate=False)
    await world.watch().read_events()
    assert await world.raised() == [("events_missed", {"count": 3})]
    await publish_event(world.redis, KEYS, EventKind.ALLOCATION_UPDATED, {})
    await world.watch().read_events()
    assert await world.raised() == []


async def test_a_worker_that_does_not_lead_raises_nothing(world: World) -> None:
    """Nor does one whose lease went to another: its fence is an old one."""
    await publish_event(world.redis, KEYS, EventKind.HISTORY_BACK, {})
    stale = world.watch()
    await world.redis.incr(KEYS.alerts_fence)
    await stale.read_events()
    await world.leadership.end()
    await stale.read_events()
    await stale.look()
    assert await world.raised() == []


async def test_a_refused_order_is_an_event_of_its_tick(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With symbol, side, amount, price and error, and without a further round trip."""

    async def refuse(requests: Any) -> list[Rejected]:
        return [Rejected(client_id=one.client_id, reason=RejectReason.FILTER, detail="lot") for one in requests]

    counts = []
    for is_refused in (False, True):
        await redis.flushall()
        desk = await open_desk(redis, own(), {BTC: walk(60)})
        world = World(redis, own())
        await world.leadership.take()
        await world.watch().read_events()
        if is_refused:
            monkeypatch.setattr(desk.client, "place", refuse)
        trader = await desk.trader()
        with counted_round_trips() as trips:
            report = await trader.tick()
        counts.append((report.placed, trips.count))
        await desk.close()
    (placed, usual), (refused, trips_now) = counts
    assert placed == refused > 1
    assert trips_now <= usual
    await world.watch().read_events()
    raised = await world.raised()
    assert len(raised) == report.placed
    kind, context = raised[0]
    assert kind == "order_failed"
    assert (context["symbol"], context["side"], context["error"]) == (BTC, "buy", "FILTER")
    assert {"amount", "price", "id"} <= set(context)


async def test_a_crash_in_a_tick_is_told(redis: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the type of the error; the traceback is in the log."""
    desk = await opened(redis)
    world = World(redis, own())
    await world.leadership.take()
    await world.watch().read_events()
    trader = await desk.trader()

    async def crash(*_args: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(trader, "tick", crash)
    await _tick_once(trader, Breakers(redis, KEYS), _Totals(), True)
    await world.watch().read_events()
    ((kind, context),) = await world.raised()
    assert (kind, context["error_type"], context["error"]) == ("tick_crashed", "ZeroDivisionError", "by zero")
    await desk.close()


async def test_how_things_stand_becomes_alerts_over_several_leaders(redis: RedisClient) -> None:
    """The start, a worker that is gone, new settings, and the summary of the day; each once."""
    desk = await opened(redis)
    world = World(redis, own())
    await world.leadership.take()
    await publish(redis, world.own)
    here = Heartbeat(worker="w1", version="1", host="h", pid=7, started_ms=0)
    await beat(redis, keys=KEYS, heartbeat=here)
    await world.watch().look()
    assert [kind for kind, _ in await world.raised()] == ["started"]
    stored = str(await redis.hget(KEYS.workers, "w1")).partition(" ")
    await redis.hset(KEYS.workers, "w1", f"{int(stored[0]) - 60_000} {stored[2]}")
    await publish(redis, world.own.model_copy(update={"total_funds": world.own.total_funds * 2}))
    world.clock += timedelta(days=1)
    await world.watch().look()
    await world.watch().look()
    raised = dict(await world.raised())
    assert raised["worker_gone"]["pid"] == 7
    assert raised["settings_changed"] == {"version": 2}
    assert {"equity", "profit", "fills", "symbols"} <= set(raised["daily_summary"])
    assert sorted(raised) == ["daily_summary", "settings_changed", "worker_gone"]
    await desk.close()


async def test_a_stop_makes_the_next_start_known(redis: RedisClient) -> None:
    """An ordered end is told; a stop of the pot alone leaves the workers running."""
    desk = await opened(redis)
    world = World(redis, own())
    await world.leadership.take()
    await world.watch().read_events()
    await beat(redis, keys=KEYS, heartbeat=Heartbeat(worker="w1", version="1", host="h", pid=7, started_ms=0))
    await world.watch().look()
    for ends in (False, True):
        facts: Any = {"account": "main", "left": "no order is open", "orders_open": 0, "ends": ends}
        await publish_event(redis, KEYS, EventKind.SYSTEM_STOPPED, facts)
        await world.watch().read_events()
        await world.watch().look()
    assert [kind for kind, _ in await world.raised()] == ["started", "stopped", "stopped", "started"]
    await desk.close()


async def test_fills_are_told_one_by_one(redis: RedisClient) -> None:
    """Each once, although the span that is read overlaps."""
    desk = await opened(redis)
    world = World(redis, own(fills="each"))
    await world.leadership.take()
    await world.watch().look()
    await world.raised()
    rest: dict[str, Any] = {
        "client_id": "c",
        "cell_key": "k",
        "side": "buy",
        "price": "1",
        "qty": "1",
        "quote": "1",
        "fee": "0",
    }
    rest |= {"fee_currency": "USDT", "fee_quote": "0", "maker": True, "basis": "1", "profit": "0", "symbol": BTC}
    at_ms = int(world.clock.timestamp() * 1000) + 1000
    world.past = [Fill.model_validate({**rest, "trade_id": "t1", "at_ms": at_ms})]
    world.clock += timedelta(seconds=15)
    await world.watch().look()
    world.past.append(Fill.model_validate({**rest, "trade_id": "t2", "at_ms": at_ms + 1}))
    world.clock += timedelta(seconds=15)
    await world.watch().look()
    assert [context["trade_id"] for _, context in await world.raised()] == ["t1", "t2"]
    await desk.close()


async def test_a_ban_that_ends_between_two_looks_is_told(redis: RedisClient) -> None:
    """A look comes each quarter of a minute, and an exchange may ban for seconds."""
    desk = await opened(redis)
    world = World(redis, own())
    await world.leadership.take()
    watch = world.watch()
    await watch.look()
    rates = venue_of(world.own.exchange.id).rate_limits
    await Budget(redis, KEYS, AddressKeys(world.own.exchange.id), rates).ban(0.01)
    await asyncio.sleep(0.02)
    await world.raised()
    await watch.look()
    await watch.look()
    assert [kind for kind, _ in await world.raised()] == ["rate_ban", "rate_ban"], (
        "of the account and of the address, once"
    )
    await desk.close()


async def test_the_heartbeat_url_is_called_only_while_all_is_well(redis: RedisClient) -> None:
    """Each few minutes; not while the audit finds a difference, nor while a tick is late."""
    desk = await opened(redis)
    async with push_plus() as server:
        calls = server.got
        url = SecretStr(f"{server.url}/ping-uuid")
        world = World(redis, own())
        alerts = world.own.alerts.model_copy(update={"heartbeat_url": url})
        world.own = world.own.model_copy(update={"alerts": alerts})
        await world.leadership.take()
        watch = world.watch()
        await watch.look()
        await watch.look()
        assert calls == ["/ping-uuid"]
        world.clock += timedelta(minutes=6)
        await redis.hincrby(KEYS.funds, "reserved", 5)
        await watch.look()
        assert len(calls) == 1
        await redis.hincrby(KEYS.funds, "reserved", -5)
        await watch.look()
        assert len(calls) == 2
        world.clock += timedelta(minutes=6)
        report = json.loads(str(await redis.get(KEYS.last_tick(BTC))))
        report["at_ms"] -= 3_600_000
        await redis.set(KEYS.last_tick(BTC), json.dumps(report))
        await watch.look()
        assert len(calls) == 2
    await desk.close()


async def test_waiting_of_a_queue_without_groups(redis: RedisClient) -> None:
    """Before the first deliverer there is nothing to trim by, and nothing is trimmed."""
    await AlertManager.from_settings(own(), redis).send_alert(AlertLevel.ERROR, "t", "m")
    assert await queue.trim(redis, KEYS) == 0
    assert await redis.xlen(KEYS.alerts) == 1


async def test_a_hanging_channel_adds_no_await_to_a_tick(
    redis: RedisClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted: the waits of an idle tick, without alerts and while a channel hangs for 30 s."""
    monkeypatch.setattr(alerting_module, "_FINISH_SECONDS", 0.2)  # what the end waits for a hanging channel
    async with bot_api() as bot:
        desk = await opened(redis)
        trader = await desk.trader()
        without = await waits_of_a_tick(trader)
        bot.faults.hang = 30
        hanging = own(telegram=TELEGRAM | {"api_url": bot.url, "commands": False})
        alerting = Alerting(hanging, redis_url)

        async def has_no_more_waits() -> bool:
            return await waits_of_a_tick(trader) <= without

        try:
            await asyncio.to_thread(alerting.start)
            await AlertManager.from_settings(hanging, redis).send_alert(AlertLevel.ERROR, "t", "m")
            await until_so(lambda: _is_asked(bot), what="the channel to be asked")
            await until_so(has_no_more_waits, 5, "a tick without a further wait")
            assert bot.texts == []
        finally:
            bot.faults.hang = 0
            await asyncio.to_thread(alerting.close)
            await desk.close()


async def waits_of_a_tick(trader: GridTrader) -> int:
    """The fewest waits of five ticks: on a busy machine an answer of Redis takes more than one."""
    counts = []
    for _ in range(5):
        tick = Mortal(trader.tick(), 10**9, lambda: None)
        await tick
        counts.append(tick.lived)
    return min(counts)


async def _is_asked(bot: BotApi) -> bool:
    return bot.faults.asked > 0
