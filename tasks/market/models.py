"""A market snapshot: prices and filters of one symbol at one moment."""

from decimal import Decimal

from tasks.exchange.models import Frozen, Market, Ticker


class Snapshot(Frozen):
    """What a tick decides on. Prices in quote per base; `at_ms` is the exchange's time."""

    market: Market
    ticker: Ticker

    @property
    def symbol(self) -> str:
        """ccxt name."""
        return self.market.symbol

    @property
    def price(self) -> Decimal:
        """Last traded price: what inventory is valued at."""
        return self.ticker.last

    @property
    def ask(self) -> Decimal:
        """Best ask: a buy at or above it would take."""
        return self.ticker.ask
