"""What an exchange's answer says of its limits. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

TOO_MANY, BANNED, FORBIDDEN = 429, 418, 403
_DEFAULT_SECONDS = {TOO_MANY: 60.0, BANNED: 120.0}
_MOST_SECONDS = 3 * 24 * 3600.0  # the longest ban an exchange announces
_BYBIT_BAN_SECONDS = 600.0  # of an IP address, by its documentation
_BYBIT_BAN = re.compile(r'"retCode"\s*:\s*10018\b')  # the address's limit; 10006 is the account's
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


def heard_of(
    exchange_id: str, code: int, headers: Mapping[str, str], body: str, now_ms: int, *, refused: bool
) -> Heard:
    """`refused`: ccxt read the answer as "too many calls", whatever its HTTP status `code`."""
    named = {name.lower(): value for name, value in headers.items()}
    address = exchange_id == "bybit" and (code == FORBIDDEN or (refused and _BYBIT_BAN.search(body) is not None))
    if not refused and not address and code not in _DEFAULT_SECONDS:
        return Heard(0, named)
    least = _BYBIT_BAN_SECONDS if address else 1.0
    told = _retry_after(named, now_ms)
    if told is None and not address:
        told = _account_reset(named, now_ms)
    seconds = _DEFAULT_SECONDS.get(code, _DEFAULT_SECONDS[TOO_MANY]) if told is None else told
    return Heard(min(max(seconds, least), _MOST_SECONDS), named)


def _retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds to wait: a number or a date (RFC 9110)."""
    text = headers.get("retry-after", "").strip()
    try:
        if text:
            at = None if text[0].isdigit() else parsedate_to_datetime(text)
            return float(text) if at is None else (at - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return None


def _account_reset(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds until Bybit counts the account's calls anew."""
    try:
        return (int(headers["x-bapi-limit-reset-timestamp"]) - now_ms) / 1000
    except (KeyError, ValueError):
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
