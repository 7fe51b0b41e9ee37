"""A worker process that trades live: `python -m tests.support.live_worker SETTINGS_JSON WINDOW_MS SYMBOL…`.

One window of each symbol, each in a thread of its own, as flow runs are. The exchange counts in windows of WINDOW_MS.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import patch

from flows.runtime.trading import TradingService
from tasks.exchange.venues import registry
from tasks.exchange.venues.venue import RateLimits
from tasks.settings.model import Settings


def trade(settings: Settings, window_ms: int, symbols: list[str]) -> int:
    """Ticks made."""
    limits = RateLimits(address_window_ms=window_ms, account_window_ms=10_000, order_ms=100)
    faster = replace(registry.venue_of(settings.exchange.id), rate_limits=limits)
    with patch.dict(registry._VENUES, {settings.exchange.id: faster}):
        service = TradingService(settings)
        with ThreadPoolExecutor(len(symbols)) as threads:
            windows = list(threads.map(lambda symbol: service.run_window(symbol, None, lambda: False), symbols))
        service.close()
    return sum(window.ticks for window in windows)


if __name__ == "__main__":
    print(trade(Settings.model_validate_json(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
