"""All venues by exchange id. Imports no ccxt: that takes seconds, and checks of the settings must not wait for it."""

from collections.abc import Mapping
from dataclasses import replace

from tasks.exchange.venues import binance, bybit, okx
from tasks.exchange.venues.venue import Venue, unlisted_venue

_VENUES: Mapping[str, Venue] = {
    "binance": binance.VENUE,
    "bybit": bybit.VENUE,
    "okx": okx.VENUE,
}
_PAPER = replace(unlisted_venue("paper"), batch_orders=True, orders_and_ticker="fetch_open_orders_and_ticker")


def is_listed(exchange_id: str) -> bool:
    """Whether the exchange has a file of its own."""
    return exchange_id in _VENUES


def venue_of(exchange_id: str) -> Venue:
    """The venue of that exchange; cautious guesses where it has no file of its own."""
    if exchange_id == _PAPER.exchange_id:
        return _PAPER
    return _VENUES.get(exchange_id) or unlisted_venue(exchange_id)


def live_exchanges() -> list[str]:
    """Exchanges that real orders may go to: those that were shown to refuse a stale order request."""
    return sorted(name for name, venue in _VENUES.items() if venue.refuses_stale_orders)
