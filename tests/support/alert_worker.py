"""A process that delivers alerts until it is killed. Its clock runs fast, so that digests come often."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from tasks.alerts.building import configured_channels
from tasks.alerts.deliverer import Deliverer
from tasks.alerts.past import HistoryPast
from tasks.alerts.telegram.desk import Connections
from tasks.alerts.telegram.poller import Poller
from tasks.base.clock import utc_now
from tasks.base.keys import Keys
from tasks.base.redis_client import connect
from tasks.settings.load import from_values
from tasks.settings.places import Values
from tests.support.forks import FORKS

SPEED = 60
LEASE_MS = 500
_BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def start_deliverer(redis_url: str, account: str, alerts: Values) -> BaseProcess:
    """Start one; the caller kills it."""
    process = FORKS.Process(target=_run, args=(redis_url, account, alerts, time.time()), daemon=True)
    process.start()
    return process


def start_poller(redis_url: str, account: str, alerts: Values) -> BaseProcess:
    """Start a process that takes Telegram commands; the caller kills it."""
    process = FORKS.Process(target=_run_poller, args=(redis_url, account, alerts), daemon=True)
    process.start()
    return process


def _run_poller(redis_url: str, account: str, alerts: Values) -> None:
    asyncio.run(_poll(redis_url, account, alerts))


async def _poll(redis_url: str, account: str, alerts: Values) -> None:
    settings = from_values({"account": account, "alerts": alerts})
    past = HistoryPast(settings, Path("/nonexistent"))
    connections = Connections(connect(redis_url), settings, past, None, utc_now)
    await Poller(connections, lease_ms=LEASE_MS, poll_seconds=0).run()


def _run(redis_url: str, account: str, alerts: Values, began: float) -> None:
    asyncio.run(_deliver(redis_url, account, alerts, began))


async def _deliver(redis_url: str, account: str, alerts: Values, began: float) -> None:
    settings = from_values({"account": account, "alerts": alerts})

    def clock() -> datetime:
        return _BEGIN + timedelta(seconds=(time.time() % 1e6) * SPEED)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))

    redis = connect(redis_url)
    deliverer = Deliverer(
        redis, Keys(account), configured_channels(settings), clock=clock, sleep=sleep, lease_ms=LEASE_MS
    )
    await deliverer.run()
