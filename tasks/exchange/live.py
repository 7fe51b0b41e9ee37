"""The right exchange for the settings: real orders only with both consents, paper otherwise."""

from typing import Any

import ccxt.async_support

from tasks.base.clock import Clock, utc_now
from tasks.base.errors import ConfigError, Problem
from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis import RedisClient
from tasks.base.settings import ExchangeSettings, Settings
from tasks.exchange.budget import Budget, allowance_of, attach_budget
from tasks.exchange.client import CcxtClient
from tasks.exchange.live_checks import id_problems, live_problems, reach_problems
from tasks.exchange.port import ExchangePort
from tasks.exchange.shared import SharedReads
from tasks.exchange.venues import VENUES

_OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}


async def open_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> ExchangePort:
    """The live exchange where `exchange.live` and --live both say so, else the paper exchange.

    `beat`: keep the paper market's clock running; a command that only looks passes False. Raises ConfigError for an
    exchange that is unknown, or that real orders cannot go to.
    """
    if settings.exchange.live and settings.live:
        exchange = live_exchange(settings.exchange)
        attach_budget(exchange, shared_budget(settings, redis))
        client = CcxtClient(exchange)
        age_ms = int(settings.trading.tick_min_seconds * 900)  # a little less than the shortest time between ticks
        return SharedReads(client, redis, Keys(settings.account), list(settings.symbols), age_ms, clock)
    _refuse(id_problems(settings.exchange))
    from tasks.exchange.paper import open_paper_exchange  # only paper trading needs it

    return CcxtClient(await open_paper_exchange(settings, redis, clock, beat=beat))


def shared_budget(settings: Settings, redis: RedisClient) -> Budget:
    """The rate budget that this account's processes share; a test net counts by itself."""
    name = settings.exchange.id + ("-sandbox" if settings.exchange.sandbox else "")
    return Budget(redis, Keys(settings.account), AddressKeys(name), allowance_of(settings.exchange.id))


def live_exchange(settings: ExchangeSettings) -> Any:
    """The ccxt exchange real orders would go to. Raises ConfigError for whatever stands against it; calls nobody."""
    _refuse(live_problems(settings))
    return _built(settings)


def ccxt_exchange(settings: ExchangeSettings) -> Any:
    """A ccxt async exchange with keys, sandbox and URL as configured. Raises ConfigError where it has no such."""
    _refuse(reach_problems(settings))
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


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems, "the settings")


def _redirected(urls: Any, base: str) -> Any:
    """The same paths under another host: `https://host/path` → `base/path`."""
    if isinstance(urls, dict):
        return {name: _redirected(url, base) for name, url in urls.items()}
    path = urls.split("://", 1)[-1].partition("/")[2]
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")
