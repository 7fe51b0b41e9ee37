"""Alerts by a Telegram bot. python-telegram-bot is imported with the first message."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasks.alerts.channel import SEND_SECONDS, AlertChannel
from tasks.alerts.models import ChannelError, Message
from tasks.alerts.text import cut
from tasks.settings.environment import override_environment

MOST_UNITS = 4096  # of a message, as Telegram counts
API_URL = "https://api.telegram.org"


@asynccontextmanager
async def opened_bot(token: str, api_url: str = API_URL, read_seconds: float = 10.0) -> AsyncIterator[Any]:
    """A `telegram.Bot` for the calls inside the block. It is not initialised, which would cost a request."""
    override_environment({"PTB_TIMEDELTA": "1"})  # without it, python-telegram-bot warns at each RetryAfter
    from telegram import Bot
    from telegram.request import HTTPXRequest

    for name in ("httpx", "httpcore"):  # they log URLs, and the token is in them
        logging.getLogger(name).setLevel(logging.WARNING)
    requests = [HTTPXRequest(connect_timeout=5, read_timeout=read_seconds, pool_timeout=5) for _ in range(2)]
    try:
        yield Bot(token, base_url=f"{api_url.rstrip('/')}/bot", request=requests[0], get_updates_request=requests[1])
    finally:
        for request in requests:
            await request.shutdown()


def seconds_of(error: Any) -> float:
    """How long Telegram wants the bot to wait. `error`: a `telegram.error.RetryAfter`."""
    wait = error.retry_after
    return float(wait) if isinstance(wait, int) else float(wait.total_seconds())


class TelegramChannel(AlertChannel):
    """Sends plain text, which needs no escaping, to one chat."""

    def __init__(
        self,
        token: str,
        chat_id: str,
        api_url: str = API_URL,
        language: str = "en",
        seconds: float = SEND_SECONDS,
    ) -> None:
        super().__init__([token, chat_id], seconds)
        self._token, self._chat_id, self._api_url, self._language = token, chat_id, api_url, language

    def deliver(self, message: Message) -> None:
        """Send one message, in an event loop of its own."""
        asyncio.run(self._deliver(message))

    async def _deliver(self, message: Message) -> None:
        async with opened_bot(self._token, self._api_url) as bot:
            from telegram import LinkPreviewOptions
            from telegram.error import RetryAfter, TelegramError

            try:
                await bot.send_message(
                    self._chat_id,
                    cut(message.text, MOST_UNITS, self._language),
                    disable_notification=message.silent,
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                )
            except RetryAfter as error:
                raise ChannelError(str(error), seconds_of(error)) from None
            except TelegramError as error:
                raise ChannelError(f"{type(error).__name__}: {error}") from None
