"""API key, HMAC signature, time stamp: checked as Binance checks them."""

import hashlib
import hmac

from tests.support.binance.config import Config
from tests.support.binance.errors import BinanceError, missing

DEFAULT_WINDOW_MS, LONGEST_WINDOW_MS = 5_000, 60_000


def check_signed(key: str | None, payload: str, params: dict[str, str], now_ms: int, config: Config) -> None:
    """Raise what Binance answers to a request that is not rightly signed or not of this moment.

    `payload` is the query string followed by the body, as sent.
    """
    if not key:
        raise BinanceError(-2014, "API-key format invalid.", 401)
    if key != config.api_key:
        raise BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    signed, _, signature = payload.rpartition("&signature=")
    wanted = hmac.new(config.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not signature:
        raise missing("signature")
    if not hmac.compare_digest(wanted, signature):
        raise BinanceError(-1022, "Signature for this request is not valid.")
    _check_time(params, now_ms)


def _check_time(params: dict[str, str], now_ms: int) -> None:
    stamp, window = params.get("timestamp", ""), params.get("recvWindow", str(DEFAULT_WINDOW_MS))
    if not stamp.isdigit():
        raise missing("timestamp")
    if float(window) > LONGEST_WINDOW_MS:
        raise BinanceError(-1131, "recvWindow must be less than 60000.")
    if int(stamp) >= now_ms + 1000:
        raise BinanceError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - int(stamp) > float(window):
        raise BinanceError(-1021, "Timestamp for this request is outside of the recvWindow.")
