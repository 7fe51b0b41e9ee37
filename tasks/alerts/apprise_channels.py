"""Alerts through Apprise: PushPlus, e-mail, and any service with an Apprise URL. Imported with the first message."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tasks.alerts.channel import SEND_SECONDS, AlertChannel
from tasks.alerts.models import ChannelError, Message
from tasks.alerts.text import cut, escaped_markdown

PUSHPLUS_URL = "https://www.pushplus.plus"
_RENDERS_MARKDOWN = ("discord",)  # renders Markdown in plain text too


class _Failures(logging.Handler):
    """Collects what Apprise says in one thread: its calls answer True or False only."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep warnings, and what Apprise only says at DEBUG about a broken connection."""
        if record.thread != self._thread:
            return
        text = record.getMessage()
        if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
            self.lines.append(text)


@contextmanager
def _failures() -> Iterator[_Failures]:
    """What Apprise says about failures inside the block. It goes to no other log: it may hold addresses and tokens."""
    logger, handler = logging.getLogger("apprise"), _Failures()
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


class _ThroughApprise(AlertChannel):
    """Sends through services of Apprise; those that failed are tried again, the others are not."""

    def __init__(self, secrets: Sequence[str], language: str, seconds: float) -> None:
        super().__init__(secrets, seconds)
        self._language = language
        self._done: tuple[Message | None, set[int]] = (None, set())  # services that have the message already

    def services(self) -> Sequence[Any]:
        """The services to send through, `apprise.NotifyBase` each. Raises ChannelError where one cannot be used."""
        raise NotImplementedError

    def deliver(self, message: Message) -> None:
        """Send through every service that does not have the message yet."""
        with _failures() as found:
            if self._done[0] != message:
                self._done = (message, set())
            failed = 0
            for number, service in enumerate(self.services()):
                if number in self._done[1]:
                    continue
                if self._notify(service, message):
                    self._done[1].add(number)
                else:
                    failed += 1
            if failed:
                raise ChannelError("; ".join(found.lines) or "the service did not take the message")

    def _notify(self, service: Any, message: Message) -> bool:
        from apprise import NotifyFormat

        service.request_rate_per_sec = 0  # the deliverer has its own limit
        text = cut(message.text, service.body_maxlen, self._language)
        schemas = service.secure_protocol if isinstance(service.secure_protocol, tuple) else [service.secure_protocol]
        if service.notify_format == NotifyFormat.MARKDOWN or not set(_RENDERS_MARKDOWN).isdisjoint(map(str, schemas)):
            text = cut(escaped_markdown(message.text), service.body_maxlen, self._language)
        return bool(service.notify(body=text, title=self._title(message), body_format=NotifyFormat.TEXT))

    def _title(self, message: Message) -> str:
        return message.title


class PushPlusChannel(_ThroughApprise):
    """Sends plain text to WeChat by PushPlus."""

    def __init__(
        self, token: str, api_url: str = PUSHPLUS_URL, language: str = "en", seconds: float = SEND_SECONDS
    ) -> None:
        super().__init__([token], language, seconds)
        self._token, self._api_url = token, api_url

    def services(self) -> Sequence[Any]:
        """PushPlus."""
        from apprise.plugins.pushplus import NotifyPushplus

        service = _made(lambda: NotifyPushplus(token=self._token, format="text"))
        service.notify_url = f"{self._api_url.rstrip('/')}/send"
        return [service]


class EmailChannel(_ThroughApprise):
    """Sends plain text by an SMTP server. `security`: ssl, starttls or none."""

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        recipients: Sequence[str],
        user: str | None = None,
        password: str | None = None,
        security: str = "ssl",
        language: str = "en",
        seconds: float = SEND_SECONDS,
    ) -> None:
        secrets = [text for text in (password, user, host, sender, *recipients) if text]
        super().__init__(secrets, language, seconds)
        self._options: dict[str, Any] = {
            "host": host,
            "smtp_host": host,
            "port": port,
            "from_addr": sender,
            "targets": list(recipients),
            "user": user,
            "password": password,
            "secure_mode": "insecure" if security == "none" else security,
            "format": "text",
        }

    def services(self) -> Sequence[Any]:
        """The SMTP server."""
        from apprise.plugins.email import NotifyEmail

        return [_made(lambda: NotifyEmail(**self._options))]


class AppriseChannel(_ThroughApprise):
    """Sends to any Apprise URLs."""

    def __init__(self, urls: Sequence[str], language: str = "en", seconds: float = SEND_SECONDS) -> None:
        super().__init__(urls, language, seconds)
        self._urls = list(urls)

    def services(self) -> Sequence[Any]:
        """One for each URL."""
        from apprise import Apprise

        return [_made(lambda url=url: Apprise.instantiate(url)) for url in self._urls]

    def _title(self, _message: Message) -> str:
        return ""  # the text begins with it; many of these services have no title


def _made(make: Any) -> Any:
    try:
        service = make()
    except TypeError as error:
        raise ChannelError(str(error)) from None
    if service is None:
        raise ChannelError("Apprise does not know this URL")
    return service
