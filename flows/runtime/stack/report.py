"""What a stack tells about itself: memory, the first tick, prices, finished flow runs, the account at its end."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from redis.exceptions import RedisError

from flows.runtime.stack.processes import tree_memory
from tasks.base.deployment_names import GRID_TICK
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings

_POSTGRES = "postgres"
_PREFECT_SECONDS = 4.0
Summarise = Callable[[Settings, RedisClient], Awaitable[dict[str, Any]]]


@dataclass
class MemoryPeak:
    """Highest sums seen over all processes of the stack, this one included. MiB."""

    rss: float = 0
    pss: float = 0

    def sample(self) -> None:
        """Measure now. Each PostgreSQL process maps the same buffers, so those count by share where it is known."""
        found = tree_memory(os.getpid())
        shared = [each.pss if each.name == _POSTGRES and each.pss is not None else each.rss for each in found]
        self.rss = max(self.rss, sum(shared) / 1024)
        self.pss = max(self.pss, sum(each.pss if each.pss is not None else each.rss for each in found) / 1024)


async def tick_count(redis: RedisClient, keys: Keys) -> int:
    """Ticks of all symbols since the account began; 0 while Redis does not answer."""
    try:
        stats = await redis.hgetall(keys.stats)
    except (RedisError, OSError):
        return 0
    return sum(int(value) for name, value in stats.items() if str(name).startswith("ticks|"))


async def completed_windows(prefect_api: str, since: datetime) -> int | None:
    """Grid-tick runs that started since then and are COMPLETED; None when the server does not answer."""
    question = {
        "flows": {"name": {"any_": [GRID_TICK]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}, "start_time": {"after_": since.isoformat()}},
    }
    async with httpx.AsyncClient(timeout=_PREFECT_SECONDS, trust_env=False) as client:
        try:
            answer = await client.post(f"{prefect_api}/flow_runs/count", json=question)
            answer.raise_for_status()
            return int(answer.json())
        except httpx.HTTPError:
            return None


def log_files(logs: Path) -> list[str]:
    """The stack's log files, by name."""
    return sorted(str(path) for path in logs.glob("*.log"))


async def prices(settings: Settings, redis: RedisClient) -> str:
    """Where prices come from, or that orders are real; a sentence."""
    from tasks.views.steps import read_status

    view = await read_status(settings, redis)
    return f"Prices: {view.prices}" if view.mode == "paper" else f"Orders on {settings.exchange.id} are real"


async def account_summary(settings: Settings, redis: RedisClient) -> dict[str, Any]:
    """The account at the end of a run."""
    from tasks.views.steps import final_summary

    return dict(await final_summary(settings, redis))
