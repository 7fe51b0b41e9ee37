"""A ccxt exchange as configured: keys, sandbox and URL, or the reasons why there is none."""

from typing import Any

import ccxt.async_support

from tasks.base.errors import ConfigError, Problem
from tasks.exchange.live_checks import live_problems, reach_problems
from tasks.exchange.venues import VENUES
from tasks.settings.model import ExchangeSettings

_OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


def live_exchange(settings: ExchangeSettings) -> Any:
    """The ccxt exchange real orders would go to. Raises ConfigError for whatever stands against it; calls nobody."""
    refuse(live_problems(settings))
    return _built(settings)


def ccxt_exchange(settings: ExchangeSettings) -> Any:
    """A ccxt async exchange with keys, sandbox and URL as configured. Raises ConfigError where it has no such."""
    refuse(reach_problems(settings))
    return _built(settings)


def _built(settings: ExchangeSettings) -> Any:
    kind = VENUES.get(settings.id) or getattr(ccxt.async_support, settings.id)
    config: dict[str, Any] = {"enableRateLimit": True, "options": dict(_OPTIONS)}
    for ours, theirs in (("api_key", "apiKey"), ("secret", "secret"), ("password", "password")):
        held = getattr(settings, ours)
        if held is not None:
            config[theirs] = held.get_secret_value()
    exchange = kind(config)
    if settings.sandbox:
        exchange.set_sandbox_mode(True)
    if settings.api_url is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], settings.api_url)
    return exchange


def refuse(problems: list[Problem]) -> None:
    """Raise one ConfigError for all problems, where there are any."""
    if problems:
        raise ConfigError(problems, "the settings")


def _redirected(urls: Any, base: str) -> Any:
    """The same paths under another host: `https://host/path` → `base/path`."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    path = urls.split("://", 1)[-1].partition("/")[2]
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")
