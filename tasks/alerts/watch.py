"""`Watch`: the leader's look at what happened. It raises the alerts, each once, and calls the heartbeat URL."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from redis.exceptions import RedisError

from tasks.alerts.building import text_of
from tasks.alerts.conditions import Bounds, Known, Now, is_on_time, look
from tasks.alerts.kinds import alert_of, alert_of_event
from tasks.alerts.manager import AlertManager
from tasks.alerts.models import Alert
from tasks.alerts.past import Past
from tasks.alerts.queue import Raised
from tasks.alerts.summaries import daily_summary, fill_alert, fills_digest, hour_of, summary_day
from tasks.base.alert_kinds import AlertKind
from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import GridflowError
from tasks.base.events import EventKind
from tasks.base.keys import AddressKeys, Keys
from tasks.base.leader import Leadership
from tasks.base.redis_client import RedisClient
from tasks.ledger.models import Fill
from tasks.ledger.steps import audit_funds
from tasks.orders.models import Intent
from tasks.settings.model import Settings
from tasks.views import store
from tasks.views.models import StatusView
from tasks.views.steps import read_status

log = logging.getLogger(__name__)
_CALL_SECONDS = 10.0
_MOST_EVENTS = 1000


class Watch:
    """Looks at events and at the status while this worker leads."""

    def __init__(
        self,
        redis: RedisClient,
        settings: Settings,
        manager: AlertManager,
        leadership: Leadership,
        history: Past | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._redis, self._settings, self._manager, self._leadership = redis, settings, manager, leadership
        self._history, self._clock = history, clock
        self._keys, self._alerts = Keys(settings.account), settings.alerts
        self._zone = ZoneInfo(settings.alerts.timezone)
        self.is_ending = False  # this process ends: how things stand says nothing any more
        self._called_ms = 0
        self._call_error = ""

    # --- events ------------------------------------------------------------------------------------------
    async def read_events(self) -> int:
        """Raise the alerts of the events since the last call; how many events. The first call ever skips the past."""
        fence = self._leadership.fence
        if fence is None:
            return 0
        state: Any = await self._redis.hgetall(self._keys.alerts_state)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.exists(self._keys.events)
            pipe.xrange(self._keys.events, min=f"({state['events']}" if "events" in state else "-", count=_MOST_EVENTS)
            pipe.xrevrange(self._keys.events, count=1)
            exists, found, newest = await pipe.execute()
            added = int((await self._redis.xinfo_stream(self._keys.events))["entries-added"]) if exists else 0
        last = newest[0][0] if newest else "0-0"
        if "events" not in state:
            await self._manager.raise_alerts([], fence=fence, state={"events": last, "events_added": str(added)})
            return 0
        if not found:
            return 0
        raised = [Raised(alert, f"event|{entry_id}") for entry_id, alert in self._alerts_of(found)]
        seen = found[-1][0]
        newer: Any = [] if seen == last else await self._redis.xrange(self._keys.events, min=f"({seen}", max="+")
        later = len(newer)
        missed = added - later - int(state.get("events_added", added)) - len(found)
        if missed > 0:
            alert = alert_of(AlertKind.EVENTS_MISSED, {"count": missed}, self._alerts.language)
            raised.append(Raised(alert, f"missed|{seen}"))
        is_ended = any(_ends(entry) for _, entry in found)
        changed = {"events": seen, "events_added": str(added - later)} | ({"ended": "1"} if is_ended else {})
        await self._manager.raise_alerts(raised, fence=fence, state=changed)
        return len(found)

    def _alerts_of(self, entries: Sequence[tuple[str, dict[str, str]]]) -> list[tuple[str, Alert]]:
        found = []
        for entry_id, entry in entries:
            kind = entry["type"]
            known = EventKind(kind) if kind in set(EventKind) else kind
            at_ms = int(entry_id.partition("-")[0])
            alert = alert_of_event(known, entry["body"], self._alerts.language, at_ms)
            if alert is not None:
                found.append((entry_id, alert))
        return found

    # --- the status --------------------------------------------------------------------------------------
    async def look(self) -> None:
        """Raise the alerts of how things stand, the daily summary and fills; call the heartbeat URL where it is due."""
        fence = self._leadership.fence
        if fence is None or self.is_ending:
            return
        text, ended = await self._redis.hmget(self._keys.alerts_state, ["known", "ended"])
        known = Known.model_validate_json(text) if text else None
        if known is not None and ended == "1":
            known = known.model_copy(update={"running": False})
        now = await self._now()
        alerts, after = look(known, now, self._bounds())
        day_alerts, after = await self._summaries(after, now, is_first=known is None)
        raised = [Raised(alert) for alert in alerts] + day_alerts
        state = {"known": after.model_dump_json(), "ended": "0"}
        if await self._manager.raise_alerts(raised, fence=fence, state=state):
            await self._call(now)

    def _bounds(self) -> Bounds:
        alerts = self._alerts
        return Bounds(alerts.late_seconds, alerts.unknown_seconds, alerts.language)

    async def _now(self) -> Now:
        view = await read_status(self._settings, self._redis)
        _, refused = await store.counters(self._redis, self._keys)
        exchange = self._settings.exchange
        address = AddressKeys(exchange.id + ("-sandbox" if exchange.sandbox else ""))
        bans = {"account": await self._redis.get(self._keys.ban), "address": await self._redis.get(address.ban)}
        until = {scope: int(str(text).split()[0]) for scope, text in bans.items() if text}
        return Now(to_ms(self._clock()), view, refused, await self._doubtful(view), until)

    async def _doubtful(self, view: StatusView) -> list[Intent]:
        found: list[Intent] = []
        for symbol in view.symbols:
            if symbol.resolving:
                texts = await self._redis.hvals(self._keys.intents(symbol.symbol))
                found += [Intent.model_validate_json(text) for text in texts]
        return [intent for intent in found if intent.is_doubtful]

    async def _summaries(self, known: Known, now: Now, is_first: bool) -> tuple[list[Raised], Known]:
        """The daily summary and fills that are due, with what to remember. Without the history, later."""
        day = summary_day(now.at_ms, self._alerts.daily_summary_hour, self._zone)
        hour = hour_of(now.at_ms, self._zone)
        if is_first or not known.day:
            known = known.model_copy(update={"day": day, "fills_ms": now.at_ms, "fills_hour": hour})
        raised = []
        try:
            if day > known.day:
                view = await self._with_results(now)
                raised.append(Raised(daily_summary(view, day, self._alerts.language), f"daily|{day}"))
                known = known.model_copy(update={"day": day})
            if self._history is not None and self._alerts.fills != "off":
                fills = await self._history.fills(known.fills_ms, now.at_ms)
                told, known = self._fills(known, fills, now.at_ms, hour)
                raised += told
        except GridflowError as error:
            log.warning("alerts: the history was not read", extra={"error": str(error)})
        return raised, known

    async def _with_results(self, now: Now) -> StatusView:
        if self._history is None:
            return now.view
        results = await self._history.results("24 h", now.at_ms - 86_400_000, now.at_ms)
        return now.view.model_copy(update={"results": (results,)})

    def _fills(self, known: Known, fills: Sequence[Fill], now_ms: int, hour: str) -> tuple[list[Raised], Known]:
        """One alert for each fill, or one an hour. `fills`: those since `known.fills_ms`, some of them told already.

        A fill may reach the history a little late, so the span that is read overlaps with the one before.
        """
        if self._alerts.fills == "each":
            raised = [
                Raised(fill_alert(one, self._alerts.language), f"fill|{one.symbol}|{one.trade_id}") for one in fills
            ]
            return raised, known.model_copy(update={"fills_ms": max(known.fills_ms, now_ms - 600_000)})
        if hour == known.fills_hour:
            return [], known
        done = [one for one in fills if hour_of(one.at_ms, self._zone) < hour]
        changed = {"fills_ms": max((one.at_ms + 1 for one in done), default=known.fills_ms), "fills_hour": hour}
        digest = [Raised(fills_digest(done, known.fills_hour, self._alerts.language), f"fills|{hour}")] if done else []
        return digest, known.model_copy(update=changed)

    # --- the dead man's switch ---------------------------------------------------------------------------
    async def _call(self, now: Now) -> None:
        """Call the heartbeat URL each few minutes while ticks are on time and the funds audit passes."""
        url, every_ms = text_of(self._alerts.heartbeat_url), self._alerts.heartbeat_minutes * 60_000
        if not url or now.at_ms - self._called_ms < every_ms or not is_on_time(now.view, self._alerts.late_seconds):
            return
        if (await audit_funds(self._redis, self._keys, [symbol.symbol for symbol in now.view.symbols])).drift:
            return
        self._called_ms = now.at_ms
        error = ""
        try:
            async with httpx.AsyncClient(timeout=_CALL_SECONDS, follow_redirects=True) as client:
                (await client.get(url)).raise_for_status()
        except httpx.HTTPStatusError as refused:
            error = f"it answered {refused.response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            error = type(failed).__name__
        if error and error != self._call_error:
            log.warning("the heartbeat URL was not reached", extra={"error": error})
        self._call_error = error


def _ends(entry: dict[str, str]) -> bool:
    """Whether the event says that the system ended: the next start is told again."""
    return entry["type"] == EventKind.SYSTEM_STOPPED.value and '"ends": true' in entry["body"]


async def watch_events(watch: Watch, sleep: Callable[[float], Awaitable[None]], seconds: float = 2.0) -> None:
    """Read events until cancelled."""
    while True:
        await watch.read_events()
        await sleep(seconds)


async def watch_status(watch: Watch, sleep: Callable[[float], Awaitable[None]], seconds: float = 15.0) -> None:
    """Look at the status until cancelled."""
    while True:
        await watch.look()
        await sleep(seconds)


async def last_look(watch: Watch) -> None:
    """Read the last events: the process ends."""
    try:
        await watch.read_events()
    except RedisError as error:
        log.warning("the last events were not read for alerts", extra={"error": str(error)})
