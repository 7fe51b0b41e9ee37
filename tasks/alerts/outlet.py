"""`Outlet`: delivers the queue to one channel, at least once, in the order of the queue."""

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tasks.alerts import queue
from tasks.alerts.building import Configured
from tasks.alerts.dropped import Dropped, told
from tasks.alerts.gate import Gate, Hold, Send, after_sending, back_off_seconds, digest_at_ms, judge
from tasks.alerts.models import Alert, ChannelError, Message
from tasks.alerts.queue import Entry
from tasks.alerts.text import digest_of, message_of
from tasks.base.clock import Clock, to_ms
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.views.models import AlertChannelView

log = logging.getLogger(__name__)
_PAGE = 500
_MOST_IN_MEMORY = 20_000  # alerts; more wait in Redis
_IDLE_SECONDS = 1.0


class _Held(NamedTuple):
    """An alert that is kept for a digest."""

    entry: Entry
    until_ms: int


class Outlet:
    """One channel's part of the deliverer. Its state is in Redis, so that another worker goes on where it ends.

    `may_send`: whether this worker still leads; asked before each message.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        name: str,
        configured: Configured,
        language: str,
        clock: Clock,
        may_send: Callable[[], bool],
    ) -> None:
        self._redis, self._keys, self.name = redis, keys, name
        self._channel, self._rules = configured
        self._language, self._clock, self._may_send = language, clock, may_send
        self._gate = Gate()
        self._dropped = Dropped()
        self.view = AlertChannelView(name=name)
        self._queue: deque[Entry] = deque()
        self._held: list[_Held] = []
        self._done: list[str] = []  # sent or not wanted, and not acknowledged yet
        self._failures = 0  # in a row
        self._loaded = False
        self.steps = 0  # done
        self.is_sending = False

    @property
    def fails(self) -> bool:
        """Whether the newest message was not delivered."""
        return self._failures > 0

    async def step(self) -> float:
        """Deliver what is due; how many seconds to wait before the next step."""
        try:
            return await self._step()
        finally:
            self.steps += 1

    async def _step(self) -> float:
        if not self._loaded:
            await self._load()
        await self._flush()
        await self._read()
        await self._drop_beyond_backlog()
        if (wait := await self._tell_dropped()) is not None:
            return wait
        while self._queue and self._may_send():
            entry = self._queue[0]
            verdict = judge(self._rules, self._gate, self.name, entry.alert, self._now())
            if isinstance(verdict, Send):
                message = message_of(entry.alert, self._language, silent=verdict.silent)
                if (wait := await self._send(message, [entry])) is not None:
                    return wait
            self._queue.popleft()
            if isinstance(verdict, Hold):
                self._held.append(_Held(entry, verdict.until_ms))
            else:
                self._done.append(entry.entry_id)
            if isinstance(verdict, Send):
                await self._flush()
        await self._flush()
        return await self._send_digest()

    async def note_waiting(self, waiting: int) -> None:
        """Store how much waits, for the status."""
        self.view = self.view.model_copy(update={"waiting": waiting, "seen_ms": self._now()})
        await queue.settle(self._redis, self._keys, self.name, [], self._state())

    def _now(self) -> int:
        return to_ms(self._clock())

    async def _load(self) -> None:
        """What the channel has sent, and the alerts that an earlier leader read and did not deliver."""
        names = [self.name, f"gate|{self.name}", f"dropped|{self.name}"]
        view, gate, dropped = await self._redis.hmget(self._keys.alert_channels, names)
        self.view = AlertChannelView.model_validate_json(view) if view else self.view
        self._gate = Gate.model_validate_json(gate) if gate else self._gate
        self._dropped = Dropped.model_validate_json(dropped) if dropped else self._dropped
        pending: list[Entry] = []
        while found := await queue.read_pending(
            self._redis, self._keys, self.name, pending[-1].entry_id if pending else "0", _PAGE
        ):
            pending += found
        self._queue.extend(pending)
        self._loaded = True

    async def _flush(self) -> None:
        """Acknowledge what is done. Where Redis does not answer, the next step does it: nothing is sent again."""
        if self._done:
            await queue.settle(self._redis, self._keys, self.name, self._done, self._state())
            self._done = []

    async def _read(self) -> None:
        while len(self._queue) + len(self._held) < _MOST_IN_MEMORY:
            found = await queue.read_new(self._redis, self._keys, self.name, _PAGE)
            self._queue.extend(found)
            if len(found) < _PAGE:
                return

    async def _drop_beyond_backlog(self) -> None:
        """While the channel fails, give up the oldest alerts above its backlog: counted, and told later.

        They are acknowledged in one step with the count: no alert is dropped without a trace.
        """
        if self.view.failing_since_ms is None:
            return
        waiting = (await queue.waiting(self._redis, self._keys)).get(self.name, 0)
        excess = waiting - len(self._done) - self._rules.backlog
        while excess > 0:
            await self._read()
            entries = sorted([one.entry for one in self._held] + list(self._queue), key=lambda one: one.place)
            gone = entries[:excess]
            if not gone:
                return
            ids = {entry.entry_id for entry in gone}
            self._dropped = self._dropped.with_alerts(entry.alert for entry in gone)
            self.view = self.view.model_copy(update={"dropped": self.view.dropped + len(gone)})
            await queue.settle(self._redis, self._keys, self.name, sorted(ids), self._state())
            self._queue = deque(entry for entry in self._queue if entry.entry_id not in ids)
            self._held = [one for one in self._held if one.entry.entry_id not in ids]
            log.error(
                "alerts dropped: too many waited for the channel", extra={"channel": self.name, "count": len(gone)}
            )
            excess -= len(gone)

    async def _tell_dropped(self) -> float | None:
        """Tell what was dropped, before anything else; the seconds to wait where that failed."""
        now_ms = self._now()
        if not self._dropped.count or not self._may_send() or digest_at_ms(self._rules, self._gate, now_ms) > now_ms:
            return None
        message = told(self._dropped, self._rules.backlog, self._language, self._rules.zone)
        if (wait := await self._send(message, [])) is not None:
            return wait
        self._dropped = Dropped()
        await queue.settle(self._redis, self._keys, self.name, [], self._state())
        return None

    async def _send_digest(self) -> float:
        """Send what is due of the alerts held back: one as itself, more as one message."""
        now_ms = self._now()
        if not self._held or not self._may_send():
            return _IDLE_SECONDS
        first_ms = min(one.until_ms for one in self._held)
        at_ms = max(first_ms, digest_at_ms(self._rules, self._gate, now_ms))
        if now_ms < at_ms:
            return min(_IDLE_SECONDS, (at_ms - now_ms) / 1000)
        due = [one for one in self._held if one.until_ms <= now_ms]
        alerts = [one.entry.alert for one in due]
        silent = all(self._rules.kinds.get(alert.kind) == "silent" for alert in alerts)
        wait = await self._send(self._message(alerts, silent), [one.entry for one in due])
        if wait is not None:
            return wait
        self._held = [one for one in self._held if one.until_ms > now_ms]
        self._done += [one.entry.entry_id for one in due]
        await self._flush()
        return 0.0

    def _message(self, alerts: list[Alert], silent: bool) -> Message:
        if len(alerts) == 1:
            return message_of(alerts[0], self._language, silent=silent)
        return digest_of(alerts, self._language, self._rules.zone, silent=silent)

    async def _send(self, message: Message, entries: list[Entry]) -> float | None:
        """Send one message. None, or the seconds to wait after a failure. The caller acknowledges the entries."""
        self.is_sending = True
        try:
            await self._channel.send(message)
        except ChannelError as error:
            return await self._note_failure(error)
        finally:
            self.is_sending = False
        if self.view.failing_since_ms is not None:
            log.warning("the alert channel works again", extra={"channel": self.name})
        self._failures = 0
        keys = [entry.alert.repeat_key for entry in entries]
        self._gate = after_sending(self._rules, self._gate, keys, self._now())
        delivered = self.view.delivered + len(entries)
        self.view = self.view.model_copy(update={"delivered": delivered, "error": "", "failing_since_ms": None})
        return None

    async def _note_failure(self, error: ChannelError) -> float:
        """Count it; log it once until the reason changes. How long to wait."""
        self._failures += 1
        why = str(error)
        if why != self.view.error:
            log.error("the alert channel fails; its alerts wait", extra={"channel": self.name, "error": why})
        since = self.view.failing_since_ms or self._now()
        changed = {"failures": self.view.failures + 1, "error": why, "failing_since_ms": since}
        self.view = self.view.model_copy(update=changed)
        await queue.settle(self._redis, self._keys, self.name, [], self._state())
        return back_off_seconds(self._failures, error.retry_after)

    def _state(self) -> dict[str, str]:
        return {
            self.name: self.view.model_dump_json(),
            f"gate|{self.name}": self._gate.model_dump_json(),
            f"dropped|{self.name}": self._dropped.model_dump_json(),
        }
