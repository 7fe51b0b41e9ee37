"""The process's alerts: raised and delivered in a thread and an event loop of its own, never on the trading loop."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from tasks.alerts.building import configured_channels
from tasks.alerts.deliverer import Deliverer
from tasks.alerts.manager import AlertManager
from tasks.alerts.past import HistoryPast
from tasks.alerts.watch import Watch, last_look, watch_events, watch_status
from tasks.base.cancelling import cancel_and_wait, pause
from tasks.base.clock import utc_now
from tasks.base.errors import StackError
from tasks.base.keys import Keys
from tasks.base.own_loop import OwnLoop
from tasks.base.redis_client import connect
from tasks.settings.environment import state_dir
from tasks.settings.model import Settings
from tasks.settings.running import prefect_api

log = logging.getLogger(__name__)
_FINISH_SECONDS = 6.0


class Alerting:
    """Raises and delivers an account's alerts until it is closed. Made only where a channel is set."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings, self._redis_url = settings, redis_url
        self._loop = OwnLoop("alerts")
        self._deliverer: Deliverer | None = None
        self._watch: Watch | None = None
        self._running: list[asyncio.Task[None]] = []
        self._closes: list[Any] = []

    def start(self) -> None:
        """Raise and deliver alerts from now on, whenever no other worker of the account does."""
        self._loop.submit(self._start()).result()

    def note_end(self) -> None:
        """The system stops: no further look at the status, which would find it running."""
        if self._watch is not None:
            self._watch.is_ending = True

    def close(self) -> None:
        """Deliver what is due, for some seconds, and end. The other alerts stay in Redis."""
        if self._loop.is_running:
            self._loop.submit(self._close()).result()
            self._loop.close()

    async def _start(self) -> None:
        settings, keys = self._settings, Keys(self._settings.account)
        redis = connect(self._redis_url)
        language = settings.alerts.language
        self._deliverer = Deliverer(redis, keys, configured_channels(settings), language)
        manager = AlertManager.from_settings(settings, redis)
        past = HistoryPast(settings, state_dir())
        watch = Watch(redis, settings, manager, self._deliverer.leadership, past)
        self._watch = watch
        beside = [lambda: watch_events(watch, pause), lambda: watch_status(watch, pause)]
        self._running = [asyncio.create_task(self._deliverer.run(*beside), name="alerts")]
        telegram = settings.alerts.telegram
        if "telegram" in settings.alerts.channels and telegram.commands:
            from tasks.alerts.telegram.desk import Connections
            from tasks.alerts.telegram.poller import Poller

            poller = Poller(Connections(redis, settings, past, _prefect_api(), utc_now))
            self._running.append(asyncio.create_task(poller.run(), name="telegram"))
        self._closes += [redis.aclose, past.close]

    async def _close(self) -> None:
        if self._deliverer is not None and self._watch is not None:
            await last_look(self._watch)
            await self._deliverer.finish(_FINISH_SECONDS)
        await cancel_and_wait(self._running)
        for close in reversed(self._closes):
            with suppress(RedisError):
                await close()


def _prefect_api() -> str | None:
    """URL of the Prefect server's API; None where none is known."""
    try:
        return prefect_api()
    except StackError:
        return None
