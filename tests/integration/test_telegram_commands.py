"""The bot answers allowed chats, asks before it trades, and carries every command out once."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from tasks.alerts.telegram.commands import Command, Incoming
from tasks.alerts.telegram.desk import Connections
from tasks.alerts.telegram.poller import Poller
from tasks.base.keys import Keys
from tasks.base.outbox import RecordKind
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Fill
from tasks.settings.model import Settings
from tasks.views.result_models import ResultsView
from tests.support.alert_servers import BOT_TOKEN, CHAT, BotApi, bot_api
from tests.support.alert_worker import start_poller
from tests.support.desk import BTC, open_desk, settings, walk
from tests.support.mortal import Killed, Mortal
from tests.support.outbox import bodies
from tests.support.prefect_stand_in import RUN_ID, PrefectStandIn
from tests.support.waiting import until_so

KEYS = Keys("main")


class Past:
    """A history with nothing in it."""

    async def fills(self, from_ms: int, to_ms: int) -> Sequence[Fill]:
        """None."""
        return []

    async def newest_fills(self, count: int) -> Sequence[Fill]:
        """None."""
        return []

    async def results(self, name: str, from_ms: int, to_ms: int) -> ResultsView:
        """Results of an empty span."""
        return ResultsView(name=name, from_ms=from_ms, to_ms=to_ms)


class Chat:
    """A person before the bot. The bot's clock is moved by hand."""

    def __init__(self, redis: RedisClient, bot: BotApi, own: Settings, prefect: str | None) -> None:
        self.redis, self.bot, self.own, self.prefect = redis, bot, own, prefect
        self.clock = datetime.now(UTC).replace(microsecond=0)

    def poller(self) -> Poller:
        """A further worker."""
        connections = Connections(self.redis, self.own, Past(), self.prefect, lambda: self.clock)
        return Poller(connections, lease_ms=1000, poll_seconds=0)

    async def turn(self, poller: Poller | None = None) -> None:
        """Let a worker take what the bot has now."""
        from tasks.alerts.telegram_channel import opened_bot

        poller = poller or self.poller()
        async with opened_bot(BOT_TOKEN, self.bot.url) as bot:
            await self.redis.delete(KEYS.telegram_lease)
            await poller.leadership.take()
            await poller._poll_once(bot)

    async def say(self, text: str, *, chat: int = CHAT, age: int = 1) -> str:
        """What the bot answers to a message; '' where it says nothing."""
        self.bot.say(text, (self.clock - timedelta(seconds=age)).timestamp(), chat)
        return await self._answer("sendMessage")

    async def press(self, data: str, *, chat: int = CHAT) -> str:
        """What the message says after its button was pressed."""
        self.bot.press(data, self.clock.timestamp(), chat)
        return await self._answer("editMessageText")

    async def _answer(self, method: str) -> str:
        before = len(self.bot.of(method))
        await self.turn()
        return "".join(call["text"] for call in self.bot.of(method)[before:])

    def buttons(self) -> list[str]:
        """The data of the buttons of the newest message."""
        markup = self.bot.of("sendMessage")[-1].get("reply_markup") or {"inline_keyboard": [[]]}
        return [button["callback_data"] for button in markup["inline_keyboard"][0]]

    async def flags(self) -> dict[str, str]:
        """The pot's flags that are set."""
        found: Any = await self.redis.hgetall(KEYS.funds)
        return {name: value for name, value in found.items() if name in ("paused", "stopped") and value == "1"}

    async def actions(self) -> list[tuple[str, str, str]]:
        """Actor, action and subject of the operator's actions; those with the same id count once."""
        rows = {row["id"]: row for row in map(json.loads, await bodies(self.redis, KEYS, RecordKind.ACTION))}
        return [(row["actor"], row["action"], row["subject"]) for row in rows.values()]


@asynccontextmanager
async def chatting(redis: RedisClient, prefect: str | None = None) -> AsyncIterator[Chat]:
    """A bot of an account that has ticked once."""
    async with bot_api() as bot:
        telegram = {"token": BOT_TOKEN, "chat_id": str(CHAT), "api_url": bot.url, "allowed_chats": ["555"]}
        own = settings(alerts={"telegram": telegram})
        desk = await open_desk(redis, own, {BTC: walk(60)})
        await (await desk.trader()).tick()
        yield Chat(redis, bot, own, prefect)
        await desk.close()


async def test_every_command_that_reads_is_answered_with_a_refresh_button(redis: RedisClient) -> None:
    """From the views and the history."""
    async with chatting(redis) as chat:
        expected = {
            "/status": "Equity 10,000.00 USDT",
            "/profit": "Fees",
            "/daily": "24 hours: 0 trades",
            "/weekly": "7 days: 0 trades",
            "/monthly": "30 days: 0 trades",
            "/balance": "Free",
            "/allocation": "Strategy dynamic",
            "/grid btc/usdt": "Cells: ",
            "/trades": "No trades yet",
            "/why BTC/USDT": "every cell has an order",
            "/log": "No warnings",
            "/help": "/liquidate SYMBOL",
        }
        assert {Command(text[1:].split()[0]) for text in expected} == set(Command) - {
            Command.PAUSE,
            Command.RESUME,
            Command.REBALANCE,
            Command.STOP,
            Command.LIQUIDATE,
        }
        for text, part in expected.items():
            assert part in await chat.say(text), text
            assert [data.lower() for data in chat.buttons()] == [f"again:{text.lower()}"]
        assert "Equity" in await chat.press("again:/status")
        assert "is not traded" in await chat.say("/grid DOGE/USDT")
        assert "Name a symbol" in await chat.say("/grid")
        assert "/help" in await chat.say("hello")


async def test_other_chats_get_no_answer_and_change_nothing(redis: RedisClient) -> None:
    """Only the chat of the alerts and the allowed ones."""
    async with chatting(redis) as chat:
        assert await chat.say("/stop", chat=31337) == ""
        assert await chat.flags() == {}
        assert "Stopped" in await chat.say("/stop", chat=555)
        assert await chat.flags() == {"stopped": "1"}
        assert await chat.actions() == [("telegram", "stop", "")]


async def test_what_trades_waits_for_a_confirmation_of_its_own_chat(redis: RedisClient) -> None:
    """The buttons work for a minute, in the chat that asked; two presses do it once."""
    async with chatting(redis) as chat:
        await chat.say("/pause")
        assert "are you sure" in await chat.say("/resume")
        yes, no = chat.buttons()
        assert await chat.flags() == {"paused": "1"}
        assert "expired" in await chat.press(yes, chat=555)
        assert await chat.flags() == {"paused": "1"}
        assert "Resumed" in await chat.press(yes)
        assert await chat.flags() == {}
        await chat.say("/pause")
        assert "Resumed" in await chat.press(yes), "the same question again: it was done already"
        assert await chat.flags() == {"paused": "1"}
        await chat.say("/resume")
        yes, no = chat.buttons()
        assert "Nothing was done" in await chat.press(no)
        assert "expired" in await chat.press(yes)
        await chat.say("/resume")
        yes, no = chat.buttons()
        await redis.delete(KEYS.telegram_question(f"{CHAT}:{yes.partition(':')[2]}"))  # as after a minute
        assert "expired" in await chat.press(yes)
        assert await chat.flags() == {"paused": "1"}
        assert [row[:2] for row in await chat.actions()] == [
            ("telegram", "pause"),
            ("telegram", "resume"),
            ("telegram", "pause"),
        ]


async def test_a_question_ends_after_a_minute(redis: RedisClient) -> None:
    """By Redis itself."""
    async with chatting(redis) as chat:
        await chat.say("/resume")
        (key,) = [key async for key in redis.scan_iter(f"{KEYS.prefix}:telegram:question:*")]
        assert 50_000 < await redis.pttl(key) <= 60_000


async def test_old_commands_are_refused_and_an_old_stop_is_asked_again(redis: RedisClient) -> None:
    """They were sent before an outage."""
    async with chatting(redis) as chat:
        assert "300 s old" in await chat.say("/rebalance", age=300)
        assert "300 s old" in await chat.say("/status", age=300)
        assert "are you sure" in await chat.say("/stop", age=300)
        assert await chat.flags() == {}
        assert "Stopped" in await chat.press(chat.buttons()[0])
        assert await chat.flags() == {"stopped": "1"}


async def test_a_rebalance_is_a_prefect_run_with_the_updates_key(redis: RedisClient) -> None:
    """Started again with the same key it is the same run."""
    prefect = PrefectStandIn()
    prefect.start()
    try:
        async with chatting(redis, prefect.api) as chat:
            await chat.say("/rebalance")
            yes = chat.buttons()[0]
            assert RUN_ID in await chat.press(yes)
            sent = [json.loads(body) for body in prefect.posted]
            assert [body["idempotency_key"] for body in sent] == [f"telegram-{yes.partition(':')[2]}"]
            assert await chat.actions() == [("telegram", "rebalance", "")]
    finally:
        prefect.stop()


async def test_what_fails_is_said(redis: RedisClient) -> None:
    """In the answer, with what to do."""
    async with chatting(redis) as chat:
        assert "not a configured symbol" in await chat.say("/pause DOGE/USDT")
        await chat.say("/liquidate DOGE/USDT")
        assert "holds nothing" in await chat.press(chat.buttons()[0])
        await chat.say("/rebalance")
        assert "no Prefect server is known" in await chat.press(chat.buttons()[0])


async def test_another_poller_makes_this_one_give_up(redis: RedisClient) -> None:
    """409 Conflict: no lease is held, and the next try is a minute away."""
    async with chatting(redis) as chat:
        chat.bot.conflict = True
        poller = chat.poller()
        assert await poller._turn() == 60
        assert await redis.exists(KEYS.telegram_lease) == 0
        chat.bot.conflict = False
        assert "Stopped" in await chat.say("/stop")


class SlowBot:
    """A bot whose sending takes a wait before and after the message is out."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send_message(self, _chat: int, text: str, **_more: Any) -> None:
        """Send."""
        await asyncio.sleep(0)
        self.sent.append(text)
        await asyncio.sleep(0)


async def test_a_command_is_carried_out_once_wherever_its_worker_dies(redis: RedisClient) -> None:
    """At every wait between receipt and answer: the next worker answers, and the pot is paused once."""
    async with chatting(redis) as chat:
        was_killed, life = True, 0
        while was_killed:
            life += 1
            bot = SlowBot()
            at_ms = int(chat.clock.timestamp() * 1000)
            command = Incoming(1000 + life, str(CHAT), 1, at_ms, text="/pause")
            try:
                await Mortal(chat.poller()._handle(bot, command), life, Killed)
                was_killed = False
            except Killed:
                took_effect = await chat.flags() != {}
                await redis.hset(KEYS.funds, "paused", "0")  # an operator resumes meanwhile
                await chat.poller()._handle(bot, command)
                await chat.poller()._handle(bot, command)
                expected = {} if took_effect else {"paused": "1"}
                assert await chat.flags() == expected, f"killed at wait {life}"
            assert len(await chat.actions()) == life, f"killed at wait {life}"
            assert len(bot.sent) in ((1, 2) if was_killed else (1,)), f"killed at wait {life}"
            await redis.hset(KEYS.funds, "paused", "0")
        assert life > 8, "there were waits to die at"


async def test_two_workers_with_one_bot_through_a_kill(redis: RedisClient, redis_url: str) -> None:
    """One polls; it is killed while its answer is on the way; the other answers, and the command counts once."""
    async with chatting(redis) as chat:
        telegram = {"token": BOT_TOKEN, "chat_id": str(CHAT), "api_url": chat.bot.url}
        workers = [await asyncio.to_thread(start_poller, redis_url, "main", {"telegram": telegram}) for _ in range(2)]
        try:
            chat.bot.say("/pause", datetime.now(UTC).timestamp())
            await until_so(lambda: _has(chat.bot, 1), what="an answer")
            chat.bot.faults.hang = 30
            chat.bot.say("/stop", datetime.now(UTC).timestamp())
            await until_so(lambda: chat.redis.hget(KEYS.funds, "stopped"), what="the stop")
            await redis.hset(KEYS.funds, "stopped", "0")
            leader = await _leader(redis, workers)
            leader.kill()
            await asyncio.to_thread(leader.join)
            chat.bot.faults.hang = 0
            await until_so(lambda: _has(chat.bot, 2), what="the second answer")
            assert [text.split(":")[0].split(".")[0] for text in chat.bot.texts] == ["Paused", "Stopped"]
            assert await chat.flags() == {"paused": "1"}, "the stop was not carried out again"
            assert [row[1] for row in await chat.actions()] == ["pause", "stop"]
        finally:
            for worker in workers:
                worker.kill()
                await asyncio.to_thread(worker.join)


async def _has(bot: BotApi, count: int) -> bool:
    return len(bot.texts) >= count


async def _leader(redis: Redis, workers: Sequence[Any]) -> Any:
    """The worker that polls: it wrote its pid beside the lease."""
    pid = int(str(await redis.get(KEYS.telegram_lease)).partition(":")[0])
    return next(worker for worker in workers if worker.pid == pid)
