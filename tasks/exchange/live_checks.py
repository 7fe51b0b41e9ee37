"""Problems with an exchange, found from the settings and the venue alone. Makes no network call.

Checks only fields that passed validation. Does not import ccxt for a listed venue: that takes seconds and 90 MB.
"""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tasks.base.addresses import is_loopback
from tasks.base.errors import Problem
from tasks.exchange.venues.registry import is_listed, live_exchanges, venue_of
from tasks.exchange.venues.unlisted import described_venue
from tasks.exchange.venues.venue import Venue
from tasks.settings.model import ExchangeSettings
from tasks.settings.validated import Sound, all_sound


def id_problems(settings: ExchangeSettings, sound: Sound = all_sound) -> list[Problem]:
    """An id that ccxt does not know. It is a problem on paper too: prices may come from there."""
    if not sound("id") or _is_known(settings.id):
        return []
    return [Problem("exchange.id", settings.id, "ccxt knows no such exchange", "Use one of ccxt's ids")]


def _is_known(exchange_id: str) -> bool:
    """Whether ccxt has a file for it: importing ccxt would cost seconds, and 90 MB for as long as `up` runs."""
    spec = find_spec("ccxt")
    folders = spec.submodule_search_locations if spec else None
    return any(Path(folder, "async_support", f"{exchange_id}.py").is_file() for folder in folders or ())


def live_problems(settings: ExchangeSettings, sound: Sound = all_sound) -> list[Problem]:
    """Everything that rules out real orders there."""
    if not sound("id") or not _is_known(settings.id):
        return id_problems(settings, sound)
    venue = _venue(settings.id)
    return [
        *_stale_request_problems(venue),
        *_feature_problems(venue),
        *_password_problems(venue, settings, sound),
        *_sandbox_problems(venue, settings, sound),
    ]


def reach_problems(settings: ExchangeSettings) -> list[Problem]:
    """Everything that rules out any request there, without keys too."""
    unknown = id_problems(settings)
    if unknown:
        return unknown
    venue = _venue(settings.id)
    return [*_feature_problems(venue), *_sandbox_problems(venue, settings, all_sound)]


def _venue(exchange_id: str) -> Venue:
    return venue_of(exchange_id) if is_listed(exchange_id) else described_venue(exchange_id)


def _stale_request_problems(venue: Venue) -> list[Problem]:
    """A worker frozen before it sends must not place an order later: the exchange has to refuse the stale request."""
    if venue.refuses_stale_orders:
        return []
    rule = f"{venue.exchange_id} was not shown to refuse a stale order request, so an order could be placed twice"
    remedy = f"Trade there on paper; real orders go to {', '.join(live_exchanges())}"
    return [Problem("exchange.id", venue.exchange_id, rule, remedy)]


def _feature_problems(venue: Venue) -> list[Problem]:
    if not venue.missing_features:
        return []
    rule = f"{venue.exchange_id} lacks {', '.join(venue.missing_features)}"
    return [Problem("exchange.id", venue.exchange_id, rule, "Use an exchange that has them")]


def _password_problems(venue: Venue, settings: ExchangeSettings, sound: Sound) -> list[Problem]:
    """An exchange may need more than a key and a secret."""
    if not sound("password") or settings.password is not None or "password" not in venue.credentials:
        return []
    rule = f"{settings.id} wants the pass phrase that was set when its key was made"
    return [Problem("exchange.password", "(not set)", rule, "Set GRIDFLOW_EXCHANGE__PASSWORD")]


def _sandbox_problems(venue: Venue, settings: ExchangeSettings, sound: Sound) -> list[Problem]:
    """No sandbox, or an `api_url` that is neither the sandbox nor this machine.

    An exchange has more live hosts than ccxt lists, so all others count as live.
    """
    if not sound("sandbox") or not settings.sandbox:
        return []
    if not venue.sandbox_hosts:
        return [Problem("exchange.sandbox", "true", f"{settings.id} has no sandbox", "Set it to false")]
    if not sound("api_url") or settings.api_url is None:
        return []
    host = (urlsplit(settings.api_url).hostname or "").rstrip(".")
    if is_loopback(host) or host in venue.sandbox_hosts:
        return []
    rule = f"sandbox is true, but this is no host of {settings.id}'s sandbox: orders there might be real"
    remedy = "Remove api_url, or set sandbox to false for real orders"
    return [Problem("exchange.api_url", settings.api_url, rule, remedy)]
