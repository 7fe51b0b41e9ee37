"""What stands against an exchange, told by the settings and by ccxt: nobody is called. Reads valid fields only."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.base.addresses import is_loopback
from tasks.base.errors import Problem
from tasks.exchange.quirks import live_exchanges, missing_features
from tasks.settings.model import ExchangeSettings
from tasks.settings.section import IsValid, all_valid


def id_problems(settings: ExchangeSettings, is_valid: IsValid = all_valid) -> list[Problem]:
    """An id that ccxt does not know is none on paper either: prices may come from there."""
    if not is_valid("id") or _is_known(settings.id):
        return []
    return [Problem("exchange.id", settings.id, "ccxt knows no such exchange", "Use one of ccxt's ids")]


def _is_known(exchange_id: str) -> bool:
    """Looked up by file: importing ccxt costs a second and 90 MB, which `gridflow up` would hold as long as it runs."""
    spec = find_spec("ccxt")
    folders = spec.submodule_search_locations if spec else None
    return any(Path(folder, "async_support", f"{exchange_id}.py").is_file() for folder in folders or ())


def live_problems(settings: ExchangeSettings, is_valid: IsValid = all_valid) -> list[Problem]:
    """Everything that stands against real orders there."""
    if not is_valid("id") or not _is_known(settings.id):
        return id_problems(settings, is_valid)
    exchange = _bare(settings.id)
    return [
        *_stale_request_problems(settings.id),
        *_feature_problems(exchange, settings.id),
        *_pass_phrase_problems(exchange, settings, is_valid),
        *_sandbox_problems(exchange, settings, is_valid),
    ]


def reach_problems(settings: ExchangeSettings) -> list[Problem]:
    """Everything that stands against asking that exchange at all, without keys too."""
    unknown = id_problems(settings)
    if unknown:
        return unknown
    exchange = _bare(settings.id)
    return [*_feature_problems(exchange, settings.id), *_sandbox_problems(exchange, settings, all_valid)]


def _bare(exchange_id: str) -> Any:
    import ccxt.async_support  # costs a second: only where real orders are meant

    return getattr(ccxt.async_support, exchange_id)()


def _stale_request_problems(exchange_id: str) -> list[Problem]:
    """A worker frozen before it sends must not place an order later: the exchange has to refuse the stale request."""
    if exchange_id in live_exchanges():
        return []
    rule = f"{exchange_id} was not shown to refuse a stale order request, so an order could be placed twice"
    remedy = f"Trade there on paper; real orders go to {', '.join(live_exchanges())}"
    return [Problem("exchange.id", exchange_id, rule, remedy)]


def _feature_problems(exchange: Any, exchange_id: str) -> list[Problem]:
    missing = missing_features(exchange.has)
    if not missing:
        return []
    rule = f"{exchange_id} lacks {', '.join(missing)}"
    return [Problem("exchange.id", exchange_id, rule, "Use an exchange that has them")]


def _pass_phrase_problems(exchange: Any, settings: ExchangeSettings, is_valid: IsValid) -> list[Problem]:
    """An exchange may want more than a key and a secret."""
    if not is_valid("password") or settings.password is not None or not exchange.requiredCredentials.get("password"):
        return []
    rule = f"{settings.id} wants the pass phrase that was set when its key was made"
    return [Problem("exchange.password", "(not set)", rule, "Set GRIDFLOW_EXCHANGE__PASSWORD")]


def _sandbox_problems(exchange: Any, settings: ExchangeSettings, is_valid: IsValid) -> list[Problem]:
    """No sandbox, or an `api_url` that is neither the sandbox nor this machine.

    An exchange has more live hosts than ccxt lists, so all others count as live. OKX's sandbox is its live host:
    there a header that ccxt puts into every request makes the difference.
    """
    if not is_valid("sandbox") or not settings.sandbox:
        return []
    if not exchange.urls.get("test"):
        return [Problem("exchange.sandbox", "true", f"{settings.id} has no sandbox", "Set it to false")]
    if not is_valid("api_url") or settings.api_url is None:
        return []
    host = _host(settings.api_url)
    if is_loopback(host) or host in _hosts(exchange, exchange.urls["test"]):
        return []
    rule = f"sandbox is true, but this is no host of {settings.id}'s sandbox: orders there might be real"
    remedy = "Remove api_url, or set sandbox to false for real orders"
    return [Problem("exchange.api_url", settings.api_url, rule, remedy)]


def _hosts(exchange: Any, urls: Any) -> set[str]:
    """The hosts of ccxt's URLs, which may be nested and hold {hostname}."""
    if isinstance(urls, dict):
        return set().union(*(_hosts(exchange, url) for url in urls.values()))
    return {_host(exchange.implode_hostname(urls))}


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")
