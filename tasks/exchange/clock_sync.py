"""The exchange's clock: one coalesced look at it whenever a time stamp was refused."""

import asyncio
import logging
from typing import Any

import ccxt

log = logging.getLogger(__name__)
_AGAIN_AFTER_SECONDS = 2.0


class ClockSync:
    """Keeps ccxt's `timeDifference` (ours minus the exchange's, ms) right for one exchange client."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._one_at_a_time = asyncio.Lock()
        self._looked_at = float("-inf")

    def exchange_time(self, own_ms: int) -> int:
        """A moment of our clock on the exchange's."""
        return own_ms - int(self._exchange.options.get("timeDifference") or 0)

    def own_time(self, exchange_ms: int) -> int:
        """A moment of the exchange's clock on ours."""
        return exchange_ms + int(self._exchange.options.get("timeDifference") or 0)

    def at_latest(self, own_ms: int) -> int:
        """A moment of the exchange's clock not after `own_ms`, whichever of the two clocks that was read from."""
        return own_ms - max(int(self._exchange.options.get("timeDifference") or 0), 0)

    async def after(self, error: Exception) -> None:
        """If `error` is a refused time stamp, look at the exchange's clock; callers at the same time share one look."""
        if not isinstance(error, ccxt.InvalidNonce) or not hasattr(self._exchange, "load_time_difference"):
            return
        async with self._one_at_a_time:
            if asyncio.get_running_loop().time() - self._looked_at < _AGAIN_AFTER_SECONDS:
                return
            try:
                await self._exchange.load_time_difference()
            except ccxt.BaseError as failed:
                log.warning("clock not synchronised", extra={"error": type(failed).__name__})
                return
            self._looked_at = asyncio.get_running_loop().time()
            log.warning("clock synchronised", extra={"difference_ms": self._exchange.options.get("timeDifference")})
