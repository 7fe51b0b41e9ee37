"""What ccxt says of an exchange that has no file of its own. Imports ccxt, which takes seconds, only when called."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from tasks.exchange.venues.venue import NEEDED_FEATURES, Venue, unlisted_venue

_CREDENTIALS = {"apiKey": "api_key", "secret": "secret", "password": "password"}


def described_venue(exchange_id: str) -> Venue:
    """The exchange as ccxt describes it: credentials, sandbox, missing features."""
    import ccxt.async_support

    exchange = getattr(ccxt.async_support, exchange_id)()
    return replace(
        unlisted_venue(exchange_id),
        credentials=tuple(ours for theirs, ours in _CREDENTIALS.items() if exchange.requiredCredentials.get(theirs)),
        sandbox_hosts=frozenset(_hosts(exchange, exchange.urls.get("test") or {})),
        missing_features=tuple(name for name in NEEDED_FEATURES if not exchange.has.get(name)),
    )


def _hosts(exchange: Any, urls: Any) -> set[str]:
    """The hosts of ccxt's URLs, which may be nested and hold {hostname}."""
    if isinstance(urls, dict):
        return set().union(*(_hosts(exchange, url) for url in urls.values()))
    return {urlsplit(exchange.implode_hostname(urls)).hostname or ""}
