"""A ccxt exchange as configured: keys, sandbox and URL. Raises ConfigError where there is none."""

from functools import cache
from typing import Any

import ccxt.async_support

from tasks.base.errors import ConfigError, Problem
from tasks.exchange.limits.send_by import SentInTime
from tasks.exchange.live_checks import live_problems, reach_problems
from tasks.exchange.venues.registry import venue_of
from tasks.exchange.venues.signed import WholeAnswers
from tasks.settings.model import ExchangeSettings

_SPOT_OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


def live_exchange(settings: ExchangeSettings) -> Any:
    """The ccxt exchange for real orders. Makes no network call. Raises ConfigError for whatever rules them out."""
    refuse(live_problems(settings))
    return _built(settings)


def ccxt_exchange(settings: ExchangeSettings) -> Any:
    """A ccxt async exchange with keys, sandbox and URL as configured. Raises ConfigError where it has no such."""
    refuse(reach_problems(settings))
    return _built(settings)


@cache
def client_class(exchange_id: str) -> type:
    """ccxt's client class of the exchange, with the venue's own methods before ccxt's.

    It sends no order too late, and reads no truncated answer.
    """
    methods, plain = venue_of(exchange_id).client_methods, getattr(ccxt.async_support, exchange_id)
    own = () if methods is object else (methods,)
    return type(plain.__name__, (*own, WholeAnswers, SentInTime, plain), {})


def _built(settings: ExchangeSettings) -> Any:
    venue = venue_of(settings.id)
    config: dict[str, Any] = {"enableRateLimit": True, "options": {**_SPOT_OPTIONS, **venue.client_options}}
    for ours, theirs in (("api_key", "apiKey"), ("secret", "secret"), ("password", "password")):
        held = getattr(settings, ours)
        if held is not None:
            config[theirs] = held.get_secret_value()
    exchange = client_class(settings.id)(config)
    if settings.sandbox:
        exchange.set_sandbox_mode(True)
    if settings.api_url is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], settings.api_url)
    return exchange


def refuse(problems: list[Problem]) -> None:
    """Raise one ConfigError for all problems, if there are any."""
    if problems:
        raise ConfigError(problems, "the settings")


def _redirected(urls: Any, base: str) -> Any:
    """The same paths under another host: `https://host/path` → `base/path`."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    path = urls.split("://", 1)[-1].partition("/")[2]
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")
