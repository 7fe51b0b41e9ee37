"""What a response says of the exchange's limits: how long to stop. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tasks.exchange.venues.venue import Headers, Response, Venue

TOO_MANY, BANNED = 429, 418
_USUAL_SECONDS = {TOO_MANY: 60.0, BANNED: 120.0}
_LEAST_SECONDS = 1.0
_MOST_SECONDS = 3 * 24 * 3600.0  # the longest ban an exchange announces


def lower_case(headers: Mapping[str, str]) -> Headers:
    """Headers by lower-case name."""
    return {name.lower(): value for name, value in headers.items()}


def ban_seconds(venue: Venue, response: Response) -> float:
    """Send nothing for so long; 0 unless the exchange refused the request because there were too many."""
    address_seconds = venue.address_ban_seconds(response)
    if not response.throttled and not address_seconds and response.status not in _USUAL_SECONDS:
        return 0.0
    seconds = _retry_after(response)
    if seconds is None and not address_seconds:  # the account's counter says nothing of the address
        seconds = venue.reset_seconds(response.headers, response.now_ms)
    if seconds is None:
        seconds = _USUAL_SECONDS.get(response.status, _USUAL_SECONDS[TOO_MANY])
    return min(max(seconds, address_seconds, _LEAST_SECONDS), _MOST_SECONDS)


def _retry_after(response: Response) -> float | None:
    """Seconds of the Retry-After header, which is a number or a date (RFC 9110)."""
    text = response.headers.get("retry-after", "").strip()
    try:
        if text:
            at = None if text[0].isdigit() else parsedate_to_datetime(text)
            now = datetime.fromtimestamp(response.now_ms / 1000, UTC)
            return float(text) if at is None else (at - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return None
