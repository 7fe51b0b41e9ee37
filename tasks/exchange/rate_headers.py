"""What an exchange's answer says of its limits. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

TOO_MANY, BANNED = 429, 418
_DEFAULT_SECONDS = {TOO_MANY: 60.0, BANNED: 120.0}
_MOST_SECONDS = 3 * 24 * 3600.0  # the longest ban an exchange announces
_BINANCE_WEIGHT = 6000  # a minute, for an IP address
_BINANCE_ORDERS = 100  # in 10 s, for an account


class Heard(NamedTuple):
    """`ban_seconds`: stop for so long, 0 without a ban. `headers`: by lower-case name."""

    ban_seconds: float
    headers: Mapping[str, str]


class Left(NamedTuple):
    """Shares of the exchange's windows that are left, 0 to 1; None where it does not say."""

    account: float | None = None
    address: float | None = None


def heard_of(code: int, headers: Mapping[str, str], *, refused: bool) -> Heard:
    """`refused`: ccxt read the answer as "too many calls", whatever its HTTP status `code`."""
    named = {name.lower(): value for name, value in headers.items()}
    if not refused and code not in _DEFAULT_SECONDS:
        return Heard(0, named)
    told = _retry_after(named)
    seconds = _DEFAULT_SECONDS.get(code, _DEFAULT_SECONDS[TOO_MANY]) if told is None else told
    return Heard(min(max(seconds, 1), _MOST_SECONDS), named)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: a number or a date (RFC 9110), or Bybit's time of the next reset (ms)."""
    now = datetime.now(UTC)
    text = headers.get("retry-after", "").strip()
    try:
        if text:
            return float(text) if text[0].isdigit() else (parsedate_to_datetime(text) - now).total_seconds()
        if "x-bapi-limit-reset-timestamp" in headers:
            return int(headers["x-bapi-limit-reset-timestamp"]) / 1000 - now.timestamp()
    except (ValueError, TypeError):
        return None
    return None


def left_of(exchange_id: str, headers: Mapping[str, str]) -> Left:
    """What is left of the limits, from the exchange's own counters."""
    if exchange_id == "binance":
        return Left(
            account=_left(headers.get("x-mbx-order-count-10s"), _BINANCE_ORDERS),
            address=_left(headers.get("x-mbx-used-weight-1m"), _BINANCE_WEIGHT),
        )
    if exchange_id == "bybit":
        status, limit = headers.get("x-bapi-limit-status", ""), headers.get("x-bapi-limit", "")
        if status.isdigit() and limit.isdigit() and int(limit):
            return Left(account=min(int(status) / int(limit), 1))
    return Left()


def _left(used: str | None, limit: int) -> float | None:
    return max(1 - int(used) / limit, 0) if used and used.isdigit() else None
