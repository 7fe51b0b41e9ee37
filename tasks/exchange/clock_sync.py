"""Synchronises with the exchange's clock whenever it has refused a time stamp."""

import asyncio
import logging
from typing import Any

import ccxt

log = logging.getLogger(__name__)
_MIN_INTERVAL_SECONDS = 2.0


class ClockSync:
    """Keeps ccxt's `timeDifference` (ours minus the exchange's, ms) right for one exchange client."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._one_at_a_time = asyncio.Lock()
        self._synced_at = float("-inf")

    def exchange_time(self, own_ms: int) -> int:
        """A time of our clock, by the exchange's clock (ms)."""
        return own_ms - int(self._exchange.options.get("timeDifference") or 0)

    def own_time(self, exchange_ms: int) -> int:
        """A time of the exchange's clock, by our clock (ms)."""
        return exchange_ms + int(self._exchange.options.get("timeDifference") or 0)

    def earliest(self, own_ms: int) -> int:
        """A time by the exchange's clock (ms) that is not after `own_ms`, whichever clock `own_ms` is of."""
        return own_ms - max(int(self._exchange.options.get("timeDifference") or 0), 0)

    async def resync_after(self, error: Exception) -> None:
        """If `error` is a refused time stamp, read the exchange's clock. Callers at the same time share one request."""
        if not isinstance(error, ccxt.InvalidNonce) or not hasattr(self._exchange, "load_time_difference"):
            return
        async with self._one_at_a_time:
            if asyncio.get_running_loop().time() - self._synced_at < _MIN_INTERVAL_SECONDS:
                return
            try:
                await self._exchange.load_time_difference()
            except ccxt.BaseError as failed:
                log.warning("clock not synchronised", extra={"error": type(failed).__name__})
                return
            self._synced_at = asyncio.get_running_loop().time()
            log.warning("clock synchronised", extra={"difference_ms": self._exchange.options.get("timeDifference")})
