"""`AlertChannel`: sends messages in threads of its own, each within a bounded time."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from tasks.alerts.models import ChannelError, Message
from tasks.alerts.text import in_one_line
from tasks.base.redaction import Redactor
from tasks.settings.secret_values import hidden_texts

SEND_SECONDS = 20.0


class _Call(NamedTuple):
    message: Message
    future: Future[None]


class AlertChannel(ABC):
    """A way to reach people. A subclass sends one message in `deliver`, which blocks and runs in a thread.

    `secrets`: texts that no error may show. `seconds`: the longest time that `send` takes.
    """

    def __init__(self, secrets: Iterable[str] = (), seconds: float = SEND_SECONDS) -> None:
        self._redactor, self._seconds = Redactor(hidden_texts(secrets)), seconds
        self._call: _Call | None = None

    @abstractmethod
    def deliver(self, message: Message) -> None:
        """Send one message. Raises ChannelError, or any other error, where it was not delivered."""

    async def send(self, message: Message | str) -> None:
        """Send it. Raises ChannelError where it was not delivered in time.

        A call that ran out of time goes on in its thread. The next `send` of the same message takes its result, so
        that a slow service gets the message once. A `send` of another message waits for it first.
        """
        message = message if isinstance(message, Message) else _of_text(message)
        if self._call is not None and self._call.message != message:
            await self._wait(self._call.future)
            self._call = None
        if self._call is None:
            self._call = _Call(message, self._start(message))
        future = self._call.future
        await self._wait(future)
        self._call = None
        error = future.exception()
        if error is None:
            return
        retry_after = error.retry_after if isinstance(error, ChannelError) else None
        raise ChannelError(self._redactor.text(in_one_line(str(error)) or type(error).__name__), retry_after) from None

    async def _wait(self, future: Future[None]) -> None:
        """Return when the call has ended, whatever its result. Raises ChannelError where it takes too long."""
        done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=self._seconds)
        if not done:
            raise ChannelError(f"no answer within {self._seconds:g} s")
        done.pop().exception()  # read here, so that asyncio does not complain

    def _start(self, message: Message) -> Future[None]:
        future: Future[None] = Future()

        def work() -> None:
            try:
                self.deliver(message)
            except BaseException as error:  # noqa: BLE001 - it is raised by `send`
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=work, name=type(self).__name__, daemon=True).start()
        return future


def _of_text(text: str) -> Message:
    return Message(title=text.partition("\n")[0], text=text)
