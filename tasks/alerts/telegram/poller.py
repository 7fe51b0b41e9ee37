"""One worker of an account polls the bot and answers. Every command is carried out once, also where a worker dies.

The answer to an update is stored before it is sent. Telegram hands an update out again until a later one is asked for:
a new leader finds the stored answer and sends it, or acts again with the same id, which changes nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from tasks.alerts.building import text_of
from tasks.alerts.telegram.commands import (
    QUESTION_MS,
    Act,
    Ask,
    Asked,
    Confirm,
    Incoming,
    Read,
    TooOld,
    Unknown,
    once_of,
    step_of,
)
from tasks.alerts.telegram.desk import CommandDesk, Connections
from tasks.alerts.telegram.texts import said
from tasks.alerts.telegram_channel import MOST_UNITS, opened_bot, seconds_of
from tasks.alerts.text import cut
from tasks.base.cancelling import pause
from tasks.base.clock import to_ms
from tasks.base.keys import Keys
from tasks.base.leader import LEASE_MS, Leadership
from tasks.base.redaction import Redactor
from tasks.exchange.models import Frozen
from tasks.settings.secret_values import secret_texts

log = logging.getLogger(__name__)
_POLL_SECONDS = 4  # shorter than the lease
_CONFLICT_SECONDS = 60.0  # after another poller was met
_AGAIN_SECONDS = 5.0
_REMEMBER_SECONDS = 2 * 86_400  # Telegram keeps an update for a day
Sleep = Callable[[float], Awaitable[None]]


class Reply(Frozen):
    """What an update is answered. `buttons`: label and data. `edit`: replace the message of the button."""

    text: str
    buttons: tuple[tuple[str, str], ...] = ()
    edit: bool = False
    sent: bool = False


class Poller:
    """Takes the commands of one bot while this worker leads."""

    def __init__(
        self,
        connections: Connections,
        sleep: Sleep = pause,
        lease_ms: int = LEASE_MS,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        settings, telegram = connections.settings, connections.settings.alerts.telegram
        self._redis, self._clock, self._sleep = connections.redis, connections.clock, sleep
        self._keys, self._language = Keys(settings.account), settings.alerts.language
        self._token, self._api_url = text_of(telegram.token), telegram.api_url
        self._chats = {text_of(telegram.chat_id), *map(text_of, telegram.allowed_chats)} - {""}
        self._desk, self._redactor = CommandDesk(connections), Redactor(secret_texts(settings))
        self._poll_seconds, self._lease_ms = poll_seconds, lease_ms
        self.leadership = Leadership(self._redis, self._keys.telegram_lease, self._keys.telegram_fence, lease_ms)
        self._error = ""

    async def run(self) -> None:
        """Poll whenever no other worker does, until cancelled. No failure ends it."""
        try:
            while True:
                await self._sleep(await self._turn())
        finally:
            await self._give_up()

    async def _turn(self) -> float:
        """Poll as long as this worker leads; how many seconds to wait before the next turn."""
        try:
            if not await self.leadership.take():
                return self._lease_ms / 4000
            return await self._poll()
        except RedisError as error:
            log.warning("telegram: Redis does not answer", extra={"error": str(error)})
        except Exception:  # a fault in one command must not end the others
            log.exception("telegram: unexpected error")
        return _AGAIN_SECONDS

    async def _poll(self) -> float:
        async with opened_bot(self._token, self._api_url, read_seconds=self._poll_seconds + 5) as bot:
            from telegram.error import Conflict, RetryAfter, TelegramError

            try:
                while await self.leadership.take():
                    await self._poll_once(bot)
                    self._error = ""
            except Conflict:
                log.error("telegram: another program polls this bot; its commands are left to it for a minute")
                await self._give_up()
                return _CONFLICT_SECONDS
            except RetryAfter as error:
                return seconds_of(error)
            except TelegramError as error:
                why = self._redactor.text(f"{type(error).__name__}: {error}")
                if why != self._error:
                    log.warning("telegram: commands cannot be read", extra={"error": why})
                self._error = why
                return _AGAIN_SECONDS
        return 0.0

    async def _poll_once(self, bot: Any) -> None:
        offset = await self._redis.hget(self._keys.telegram, "offset")
        kinds = ["message", "callback_query"]
        updates = await bot.get_updates(
            int(offset) if offset else None, timeout=int(self._poll_seconds), allowed_updates=kinds
        )
        for update in updates:
            if not await self.leadership.take():
                return
            incoming = _incoming(update)
            if incoming is not None:
                await self._handle(bot, incoming)
            await self._redis.hset(self._keys.telegram, "offset", str(update.update_id + 1))

    async def _handle(self, bot: Any, incoming: Incoming) -> None:
        """Carry an update out and answer it. What was answered is not answered again."""
        if incoming.chat not in self._chats:
            log.warning("telegram: a message of a chat that is not allowed was ignored")
            return
        key = self._keys.telegram_update(incoming.update_id)
        stored = await self._redis.get(key)
        reply = Reply.model_validate_json(stored) if stored else await self._reply(incoming)
        if reply.sent:
            return
        if not stored:
            await self._redis.set(key, reply.model_dump_json(), ex=_REMEMBER_SECONDS)
        await self._send(bot, incoming, reply)
        done = reply.model_copy(update={"sent": True})
        await self._redis.set(key, done.model_dump_json(), ex=_REMEMBER_SECONDS)

    async def _reply(self, incoming: Incoming) -> Reply:
        step = step_of(incoming, to_ms(self._clock()))
        if isinstance(step, Read):
            refresh = (said(self._language, "refresh"), f"again:{step.asked}")
            return Reply(text=await self._desk.read(step.asked), buttons=(refresh,), edit=step.edit)
        if isinstance(step, Act):
            return Reply(text=await self._desk.act(step.asked, step.once))
        if isinstance(step, Ask):
            return await self._question(step.asked, incoming)
        if isinstance(step, Confirm):
            return await self._confirmed(step, incoming)
        if isinstance(step, TooOld):
            return Reply(text=said(self._language, "old", command=step.asked, seconds=step.seconds))
        assert isinstance(step, Unknown)
        if step.asked is not None:
            return Reply(text=said(self._language, "needs_symbol", command=step.asked.value))
        return Reply(text=said(self._language, "unknown"))

    async def _question(self, asked: Asked, incoming: Incoming) -> Reply:
        """Ask for a confirmation, in this chat and for a minute."""
        key = self._keys.telegram_question(f"{incoming.chat}:{incoming.update_id}")
        await self._redis.set(key, asked.model_dump_json(), px=QUESTION_MS)
        labels = [(said(self._language, name), f"{name}:{incoming.update_id}") for name in ("yes", "no")]
        return Reply(text=said(self._language, "ask", command=asked), buttons=tuple(labels))

    async def _confirmed(self, step: Confirm, incoming: Incoming) -> Reply:
        """Carry out what was asked. The id is the command's, so that two presses do it once."""
        key = self._keys.telegram_question(f"{incoming.chat}:{step.update_id}")
        stored = await self._redis.get(key)
        if stored is None:
            return Reply(text=said(self._language, "expired"), edit=True)
        if not step.yes:
            await self._redis.delete(key)
            return Reply(text=said(self._language, "dropped"), edit=True)
        return Reply(text=await self._desk.act(Asked.model_validate_json(stored), once_of(step.update_id)), edit=True)

    async def _send(self, bot: Any, incoming: Incoming, reply: Reply) -> None:
        from telegram import InlineKeyboardButton, InlineKeyboardMarkup
        from telegram.error import BadRequest

        buttons = [InlineKeyboardButton(label, callback_data=data) for label, data in reply.buttons]
        markup = InlineKeyboardMarkup([buttons]) if buttons else None
        text = cut(self._redactor.text(reply.text), MOST_UNITS, self._language)
        chat = int(incoming.chat)
        if incoming.callback:
            try:
                await bot.answer_callback_query(incoming.callback)
            except BadRequest as error:  # the press is old: its waiting sign is gone by itself
                log.info("telegram: a press was not confirmed", extra={"error": str(error)})
        if not reply.edit:
            await bot.send_message(chat, text, reply_markup=markup)
            return
        try:
            await bot.edit_message_text(text, chat, incoming.message_id, reply_markup=markup)
        except BadRequest as error:
            if "not modified" not in str(error):
                raise

    async def _give_up(self) -> None:
        try:
            await self.leadership.end()
        except RedisError as error:
            log.warning("telegram: the lease was not given back", extra={"error": str(error)})


def _incoming(update: Any) -> Incoming | None:
    """The update in our words; None for one that holds neither text nor a press."""
    message, press = update.message, update.callback_query
    if press is not None and press.message is not None:
        place = press.message
        chat, at_ms = str(place.chat.id), int(place.date.timestamp() * 1000)
        return Incoming(
            update.update_id, chat, place.message_id, at_ms, data=str(press.data or ""), callback=str(press.id)
        )
    if message is not None and message.text:
        at_ms = int(message.date.timestamp() * 1000)
        return Incoming(update.update_id, str(message.chat.id), message.message_id, at_ms, text=str(message.text))
    return None
