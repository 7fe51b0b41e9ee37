"""What a worker's guard needs of the process's trading service and of the worker."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from flows.runtime.beating import Beating
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings
from tasks.tick.coverage import Coverage
from tasks.tick.models import WindowReport


class TradingSide(Protocol):
    """The trading service; its methods may be called from any thread."""

    beating: Beating

    @property
    def settings(self) -> Settings: ...
    def connect(self) -> RedisClient: ...
    def look(self) -> Future[Coverage]: ...
    def leave(self) -> Future[None]: ...
    def own_window(self, symbol: str, since_ms: int, end_reason: Callable[[], str | None]) -> Future[WindowReport]: ...


OpenTrading = Callable[[], TradingSide]


def open_service() -> TradingSide:
    """This process's trading service."""
    from flows.runtime.service import service  # its stages are needed only where there is trading to do

    return service()


@dataclass
class WorkerFacts:
    """What the worker tells its guard: its name, the runs that it has, and whether it takes no more of them."""

    name: str
    runs: Callable[[], set[UUID]]
    is_draining: Callable[[], bool]
