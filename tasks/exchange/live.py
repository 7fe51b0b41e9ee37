"""The right exchange for the settings: real orders only with both consents, paper otherwise."""

from typing import Any
from urllib.parse import urlsplit

import ccxt.async_support

from tasks.base.addresses import is_loopback
from tasks.base.clock import Clock, utc_now
from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis import RedisClient
from tasks.base.settings import ExchangeSettings, Settings
from tasks.exchange.budget import Budget, allowance_of, attach_budget
from tasks.exchange.client import CcxtClient
from tasks.exchange.port import ExchangePort
from tasks.exchange.quirks import live_exchanges, missing_features
from tasks.exchange.shared import SharedReads
from tasks.exchange.venues import VENUES

_OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


async def open_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> ExchangePort:
    """The live exchange where `exchange.live` and --live both say so, else the paper exchange.

    `beat`: keep the paper market's clock running; a command that only looks passes False.
    """
    if settings.exchange.live and settings.live:
        exchange = live_exchange(settings.exchange)
        attach_budget(exchange, shared_budget(settings, redis))
        client = CcxtClient(exchange)
        age_ms = int(settings.trading.tick_min_seconds * 900)  # a little less than the shortest time between ticks
        return SharedReads(client, redis, Keys(settings.account), list(settings.symbols), age_ms, clock)
    from tasks.exchange.paper import open_paper_exchange  # only paper trading needs it

    return CcxtClient(await open_paper_exchange(settings, redis, clock, beat=beat))


def shared_budget(settings: Settings, redis: RedisClient) -> Budget:
    """The rate budget that this account's processes share; a test net counts by itself."""
    name = settings.exchange.id + ("-sandbox" if settings.exchange.sandbox else "")
    return Budget(redis, Keys(settings.account), AddressKeys(name), allowance_of(settings.exchange.id))


def live_exchange(settings: ExchangeSettings) -> Any:
    """The ccxt exchange real orders would go to. Raises ConfigError for whatever stands against it; calls nobody."""
    exchange = ccxt_exchange(settings)
    refuse_unproven(settings)
    refuse_missing_keys(exchange, settings)
    return exchange


def ccxt_exchange(settings: ExchangeSettings) -> Any:
    """A ccxt async exchange with keys, sandbox and URL as configured. Raises ConfigError where it has no such."""
    if settings.id not in ccxt.async_support.exchanges:
        problem = Problem("exchange.id", settings.id, "ccxt knows no such exchange", "Use one of ccxt's ids")
        raise ConfigError([problem], "the settings")
    kind = VENUES.get(settings.id) or getattr(ccxt.async_support, settings.id)
    config: dict[str, Any] = {"enableRateLimit": True, "options": dict(_OPTIONS)}
    for ours, theirs in (("api_key", "apiKey"), ("secret", "secret"), ("password", "password")):
        held = getattr(settings, ours)
        if held is not None:
            config[theirs] = held.get_secret_value()
    exchange = kind(config)
    missing = missing_features(exchange.has)
    if missing:
        rule = f"{settings.id} lacks {', '.join(missing)}"
        raise ConfigError([Problem("exchange.id", settings.id, rule, "Use an exchange that has them")], "the settings")
    if settings.sandbox:
        _use_sandbox(exchange, settings)
    if settings.api_url is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], settings.api_url)
    return exchange


def refuse_unproven(settings: ExchangeSettings) -> None:
    """A worker frozen before it sends must not place an order later: the exchange has to refuse the stale request."""
    if settings.id not in live_exchanges():
        rule = f"{settings.id} was not shown to refuse a stale order request, so an order could be placed twice"
        remedy = f"Trade there on paper; real orders go to {', '.join(live_exchanges())}"
        raise ConfigError([Problem("exchange.id", settings.id, rule, remedy)], "the settings")


def refuse_missing_keys(exchange: Any, settings: ExchangeSettings) -> None:
    """An exchange may want more than a key and a secret: said before anything starts."""
    if exchange.requiredCredentials.get("password") and settings.password is None:
        rule = f"{settings.id} wants the pass phrase that was set when its key was made"
        problem = Problem("exchange.password", "(not set)", rule, "Set GRIDFLOW_EXCHANGE__PASSWORD")
        raise ConfigError([problem], "the settings")


def _use_sandbox(exchange: Any, settings: ExchangeSettings) -> None:
    """Raises ConfigError where there is no sandbox, or where `api_url` is neither the sandbox nor this machine.

    An exchange has more live hosts than ccxt lists, so all others count as live. OKX's sandbox is its live host:
    there a header that ccxt puts into every request makes the difference.
    """
    if not exchange.urls.get("test"):
        rule = f"{settings.id} has no sandbox"
        raise ConfigError([Problem("exchange.sandbox", "true", rule, "Set it to false")], "the settings")
    host = _host(settings.api_url or "")
    if settings.api_url is not None and host not in _hosts(exchange, exchange.urls["test"]) and not is_loopback(host):
        rule = f"sandbox is true, but this is no host of {settings.id}'s sandbox: orders there might be real"
        remedy = "Remove api_url, or set sandbox to false for real orders"
        raise ConfigError([Problem("exchange.api_url", settings.api_url, rule, remedy)], "the settings")
    exchange.set_sandbox_mode(True)


def _hosts(exchange: Any, urls: Any) -> set[str]:
    """The hosts of ccxt's URLs, which may be nested and hold {hostname}."""
    if isinstance(urls, dict):
        return set().union(*(_hosts(exchange, url) for url in urls.values()))
    return {_host(exchange.implode_hostname(urls))}


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _redirected(urls: Any, base: str) -> Any:
    """The same paths under another host: `https://host/path` → `base/path`."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    path = urls.split("://", 1)[-1].partition("/")[2]
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")
