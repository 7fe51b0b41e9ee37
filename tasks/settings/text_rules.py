"""Forms that text in the settings must have, each with its rule in plain words."""

import re
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

API_URL_RULE = "must be http:// or https:// and a host, without user or password"
REDIS_URL_RULE = "must be redis:// or rediss:// with a host and at most a database number, or unix:// with a path"


def form(pattern: str, rule: str) -> AfterValidator:
    """Refuses text that does not match the whole of `pattern`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("form", rule)
        return text

    return AfterValidator(check)


def checked_api_url(text: str) -> str:
    """A base URL as it is; its user and password would end up in logs and lists of processes."""
    parts = _parts(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[@\s]", text):
        raise PydanticCustomError("form", API_URL_RULE)
    return text


def checked_redis_url(secret: SecretStr) -> SecretStr:
    """A Redis URL as it is, its password included; redis-py would take a wrong database name for 0."""
    parts = _parts(secret.get_secret_value())
    if parts is None or not _names_a_redis(parts):
        raise PydanticCustomError("form", REDIS_URL_RULE)
    return secret


def _names_a_redis(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return bool(parts.path)
    return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and bool(re.fullmatch(r"/?\d*/?", parts.path))


def _parts(text: str) -> SplitResult | None:
    """None for what is no URL: a bracket left open, a port that is no number."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts
