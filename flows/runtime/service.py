"""The trading service of this process."""

from functools import cache

from flows.runtime.trading import TradingService
from tasks.base.events import EventKind
from tasks.settings.load import load


@cache
def service() -> TradingService:
    """The trading service of this process. The first call creates it from the settings."""
    return TradingService(load())


def request_stop() -> None:
    """End the running windows of this process early, if it has a trading service."""
    if service.cache_info().currsize:
        service().request_stop()


def tell_crash(kind: EventKind, error: BaseException, **facts: str) -> None:
    """Publish a crash, if this process has a trading service."""
    if service.cache_info().currsize:
        service().tell_crash(kind, error, **facts)


def close_service() -> None:
    """Close the trading service of this process, if it has one. Its process ends."""
    if service.cache_info().currsize:
        service().close()
