"""`AlertManager`: takes alerts and hands them to the channels."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tasks.alerts import queue
from tasks.alerts.building import configured_channels
from tasks.alerts.channel import AlertChannel
from tasks.alerts.models import Alert, AlertKind, AlertLevel, ChannelError, Message
from tasks.alerts.text import message_of
from tasks.base.keys import Keys
from tasks.base.redaction import Redactor
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings
from tasks.settings.secret_values import secret_texts

log = logging.getLogger(__name__)
_LOG_LEVELS = {level: logging.INFO if level is AlertLevel.INFO else logging.WARNING for level in AlertLevel}


class Sender(Protocol):
    """What the manager needs of a channel."""

    async def send(self, message: Message | str) -> None: ...


class AlertManager:
    """Sends alerts to channels.

    With `redis` and `keys` an alert is appended to the durable queue, and the account's deliverer sends it. Without
    them it is sent at once. `secrets`: texts that no alert may show. `language`: en or zh, of the fixed texts.
    """

    def __init__(
        self,
        redis: RedisClient | None = None,
        keys: Keys | None = None,
        secrets: Iterable[str] = (),
        language: str = "en",
    ) -> None:
        self.channels: dict[str, AlertChannel | Sender] = {}
        self._enabled = True
        self._redis, self._keys, self._language = redis, keys, language
        self._redactor = Redactor(secrets)

    @classmethod
    def from_settings(cls, settings: Settings, redis: RedisClient | None = None) -> "AlertManager":
        """A manager with the configured channels; with `redis`, alerts go through the durable queue."""
        keys = Keys(settings.account) if redis is not None else None
        manager = cls(redis, keys, secret_texts(settings), settings.alerts.language)
        for name, configured in configured_channels(settings).items():
            manager.add_channel(name, configured.channel)
        return manager

    def add_channel(self, name: str, channel: AlertChannel | Sender) -> None:
        """Send to this channel too, under `name`."""
        self.channels[name] = channel

    def remove_channel(self, name: str) -> None:
        """Send to it no more. A name that is not known changes nothing."""
        self.channels.pop(name, None)

    def enable(self) -> None:
        """Send alerts, which is so from the start."""
        self._enabled = True

    def disable(self) -> None:
        """Send no alerts until `enable`."""
        self._enabled = False

    async def send_alert(
        self,
        level: AlertLevel,
        title: str,
        message: str,
        channels: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        kind: AlertKind = AlertKind.CUSTOM,
        key: str = "",
        once: str = "",
    ) -> None:
        """Send an alert to `channels`, or to all. Nothing is sent while disabled, or without any channel.

        `key`: alerts with the same key repeat each other. `once`: no second alert with this key is sent in a week.
        """
        if not self._enabled or not self.channels:
            return
        alert = Alert(
            level=level,
            title=self._redactor.text(title),
            message=self._redactor.text(message),
            context=None if context is None else self._redactor.value(context),
            channels=None if channels is None else tuple(channels),
            kind=kind,
            key=key,
        )
        await self.raise_alerts([queue.Raised(alert, once)])

    def cleaned(self, alert: Alert) -> Alert:
        """The alert without secrets."""
        changed: dict[str, Any] = {name: self._redactor.text(getattr(alert, name)) for name in ("title", "message")}
        changed["context"] = None if alert.context is None else self._redactor.value(alert.context)
        return alert.model_copy(update=changed)

    async def raise_alerts(
        self,
        alerts: Sequence[queue.Raised],
        *,
        fence: int | None = None,
        state: Mapping[str, str] | None = None,
    ) -> bool:
        """Raise alerts, and write the state of the watch in the same step. False where the fence is an old one."""
        cleaned = [queue.Raised(self.cleaned(one.alert), one.once) for one in alerts]
        for one in cleaned:
            facts = {"kind": one.alert.kind.value, "title": one.alert.title, "text": one.alert.message}
            log.log(_LOG_LEVELS[one.alert.level], "alert", extra=facts | {"context": one.alert.context or {}})
        if self._redis is None or self._keys is None:
            await asyncio.gather(*(self._send_now(one.alert) for one in cleaned))
            return True
        return await queue.append(self._redis, self._keys, cleaned, fence=fence, state=state) >= 0

    async def _send_now(self, alert: Alert) -> None:
        wanted = list(self.channels) if alert.channels is None else alert.channels
        names = [name for name in wanted if name in self.channels]
        message = message_of(alert, self._language)
        results = await asyncio.gather(*(self.channels[name].send(message) for name in names), return_exceptions=True)
        for name, result in zip(names, results, strict=True):
            if isinstance(result, ChannelError | Exception):
                log.error("alert not delivered", extra={"channel": name, "error": self._redactor.text(str(result))})
