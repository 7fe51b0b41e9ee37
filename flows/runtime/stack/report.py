"""What a stack reports: memory, ticks, prices, completed flow runs, the account at the end."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from flows.runtime.stack.processes import tree_memory_mib
from tasks.base.deployment_names import GRID_TICK
from tasks.base.errors import GridflowError, PrefectUnavailable
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.control.prefect_runs import PrefectRuns
from tasks.settings.model import Settings

_PREFECT_SECONDS = 4.0
Summarise = Callable[[Settings, RedisClient], Awaitable[dict[str, Any]]]


@dataclass
class MemoryPeak:
    """The highest memory seen of the whole stack, this process included. MiB; see `tree_memory_mib`."""

    mib: float = 0

    def sample(self) -> None:
        """Measure now."""
        self.mib = max(self.mib, tree_memory_mib(os.getpid()))


async def tick_count(redis: RedisClient, keys: Keys) -> int:
    """Ticks of all symbols since the account began; 0 while Redis does not answer."""
    try:
        stats = await redis.hgetall(keys.stats)
    except (RedisError, OSError):
        return 0
    return sum(int(value) for name, value in stats.items() if str(name).startswith("ticks|"))


def completed_windows(prefect_api: str, since: datetime) -> int | None:
    """Grid-tick runs that started since then and are COMPLETED; None when the server does not answer."""
    try:
        return PrefectRuns(prefect_api, timeout_seconds=_PREFECT_SECONDS).completed_since(GRID_TICK, since)
    except PrefectUnavailable:
        return None


async def prices(settings: Settings, redis: RedisClient) -> str:
    """Where prices come from, or that orders are real; a sentence."""
    from tasks.views.render import market_notes, prices_line
    from tasks.views.steps import read_status

    view = await read_status(settings, redis)
    if view.mode == "paper":
        return " ".join([f"{prices_line(view)}.", *market_notes(view)])
    return f"Orders on {settings.exchange.id} are real"


async def account_summary(settings: Settings, redis: RedisClient) -> dict[str, Any]:
    """The account at the end of a run."""
    from tasks.views.steps import final_summary

    return dict(await final_summary(settings, redis))


async def equity_now(settings: Settings, redis: RedisClient) -> str | None:
    """The equity at the start of a run, in quote: of the newest prices known. None where nothing has traded yet."""
    from tasks.views.steps import read_status

    view = await read_status(settings, redis)
    return plain(view.equity) if view.ticks else None


async def note_status(settings: Settings, redis: RedisClient, folder: Path) -> None:
    """Write the status into the state folder."""
    from flows.runtime.stack.last_status import write_last_status
    from tasks.views.steps import read_status

    write_last_status(folder, await read_status(settings, redis))


async def recording_finished(settings: Settings, redis: RedisClient) -> bool:
    """Whether a replay has ended: every symbol has traded its last candle. The stop books what is left of it."""
    from tasks.views.steps import read_status

    try:
        view = await read_status(settings, redis)
    except (RedisError, OSError, GridflowError):
        return False
    at_end = view.recording_finished and not view.stopped
    return at_end and all(symbol.price is not None and not symbol.resolving for symbol in view.symbols)
