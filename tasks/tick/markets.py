"""The markets of a process's symbols: read again every hour, and soon after a filter refused an order."""

import logging
from collections.abc import Mapping, Sequence

from tasks.base.errors import ExchangeError, RejectReason
from tasks.exchange.models import Market, Placement, Rejected
from tasks.exchange.port import ExchangePort

log = logging.getLogger(__name__)
MAX_AGE_MS = 3_600_000
MIN_PAUSE_MS = 60_000  # between two readings, whatever asks for them


def filter_refused(answers: Sequence[Placement]) -> bool:
    """Whether a filter of the exchange refused an order: the market may have changed."""
    return any(isinstance(answer, Rejected) and answer.reason is RejectReason.FILTER for answer in answers)


class Markets:
    """Filters and fees by symbol, for all traders of a process. A market that cannot be read again stays as it was."""

    def __init__(self) -> None:
        self.known: dict[str, Market] = {}
        self.unlisted: set[str] = set()  # at the last reading
        self._planned: dict[str, Market] = {}
        self._read_ms: int | None = None
        self._tried_ms: int | None = None
        self._is_outdated = False

    def add(self, markets: Mapping[str, Market]) -> None:
        """Add markets that were just read."""
        self.known |= markets
        self.unlisted -= markets.keys()

    def read_soon(self) -> None:
        """Read the markets again before the next tick, at most once a minute."""
        self._is_outdated = True

    async def latest(self, exchange: ExchangePort, market: Market, now_ms: int) -> Market:
        """The newest market of `market.symbol`; `market` itself where none is known. Reads the exchange where due."""
        known = self.known.setdefault(market.symbol, market)
        if not self._is_due(now_ms):
            return known
        self._tried_ms = now_ms  # at once: the other traders go on with what is known while this one reads
        try:
            found = await exchange.refreshed_markets(sorted(self.known))
        except ExchangeError as error:
            log.warning("the markets could not be read again; tried in a minute", extra={"error": str(error)})
            return known
        self._read_ms, self._is_outdated = now_ms, False
        self._log(found)
        self.unlisted = {symbol for symbol in self.known if symbol not in found}
        self.known |= found
        return self.known[market.symbol]

    def is_changed(self, market: Market) -> bool:
        """Whether the last plan of the symbol was made with other filters or fees, perhaps by another process.

        A process that plans the symbol for the first time does not know what others planned with.
        """
        return self._planned.get(market.symbol) != market

    def planned(self, market: Market) -> None:
        """Note that a plan was made with this market, and its orders sent."""
        self._planned[market.symbol] = market
        self.unlisted.discard(market.symbol)

    def _is_due(self, now_ms: int) -> bool:
        if self._read_ms is None:
            self._read_ms = now_ms
        if self._tried_ms is not None and now_ms - self._tried_ms < MIN_PAUSE_MS:
            return False
        return self._is_outdated or now_ms - self._read_ms >= MAX_AGE_MS

    def _log(self, found: Mapping[str, Market]) -> None:
        for symbol, before in self.known.items():
            if symbol not in found:
                log.error("the exchange no longer lists the symbol", extra={"symbol": symbol})
            elif found[symbol] != before:
                changed = {
                    name: f"{getattr(before, name)} → {getattr(found[symbol], name)}"
                    for name in Market.model_fields
                    if getattr(before, name) != getattr(found[symbol], name)
                }
                log.warning("the exchange changed a market", extra={"symbol": symbol} | changed)
