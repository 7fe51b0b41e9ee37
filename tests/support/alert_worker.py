"""A process that delivers alerts until it is killed. Its clock runs fast, so that digests come often."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess

from tasks.alerts.building import configured_channels
from tasks.alerts.deliverer import Deliverer
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
