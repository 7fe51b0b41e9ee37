"""A worker process that trades live: `python -m tests.support.live_worker SETTINGS_JSON WINDOW_MS SYMBOL…`.

One window of each symbol, each in a thread of its own, as flow runs are. The exchange counts in windows of WINDOW_MS.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from flows.runtime.trading import TradingService
from tasks.exchange.limits import budget
from tasks.settings.model import Settings


def trade(settings: Settings, window_ms: int, symbols: list[str]) -> int:
    """Ticks made."""
    faster = budget.Allowance(window_ms=window_ms, account_window_ms=10_000, order_ms=100)
    with patch.dict(budget._ALLOWANCES, {settings.exchange.id: faster}):
        service = TradingService(settings)
        with ThreadPoolExecutor(len(symbols)) as threads:
            windows = list(threads.map(lambda symbol: service.run_window(symbol, None, lambda: False), symbols))
        service.close()
    return sum(window.ticks for window in windows)


if __name__ == "__main__":
    print(trade(Settings.model_validate_json(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
