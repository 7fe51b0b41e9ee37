"""Rules for settings that are text. Each error says the rule in plain words."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

API_URL_RULE = "must be http:// or https:// and a host, without user or password"
DATABASE_URL_RULE = (
    "must be postgresql+asyncpg://user:password@host/name, or sqlite+aiosqlite:/// with the path of a file"
)
REDIS_URL_RULE = "must be redis:// or rediss:// with a host and at most a database number, or unix:// with a path"


def matches(pattern: str, rule: str) -> AfterValidator:
    """A validator that refuses text which does not match `pattern` from its first to its last character."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("wrong_text", rule)
        return text

    return AfterValidator(check)


def checked_api_url(text: str) -> str:
    """The base URL, unchanged. Refuses a user or password in it: they would appear in logs and process lists."""
    parts = _parts(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[@\s]", text):
        raise PydanticCustomError("wrong_text", API_URL_RULE)
    return text


def checked_network(text: str) -> str:
    """An address, or a network such as 10.0.0.0/24, unchanged."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise PydanticCustomError("wrong_text", "must be an IP address, or a network such as 10.0.0.0/24") from None
    return text


def checked_redis_url(secret: SecretStr) -> SecretStr:
    """The Redis URL, unchanged. Refuses a database that is no number: redis-py would use database 0 instead."""
    parts = _parts(secret.get_secret_value())
    if parts is None or not _names_a_redis(parts):
        raise PydanticCustomError("wrong_text", REDIS_URL_RULE)
    return secret


def checked_database_url(secret: SecretStr) -> SecretStr:
    """The database URL, unchanged. Refuses other databases and drivers, and a URL without a file or a name."""
    parts = _parts(secret.get_secret_value())
    schemes = ("postgresql+asyncpg", "sqlite+aiosqlite")
    if parts is None or parts.scheme not in schemes or parts.path.strip("/") in ("", ":memory:"):
        raise PydanticCustomError("wrong_text", DATABASE_URL_RULE)
    if parts.scheme == "sqlite+aiosqlite" and parts.netloc:
        raise PydanticCustomError("wrong_text", DATABASE_URL_RULE)
    return secret


def _names_a_redis(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return bool(parts.path)
    return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and bool(re.fullmatch(r"/?\d*/?", parts.path))


def _parts(text: str) -> SplitResult | None:
    """The parts of a URL. None for text that is no URL, such as one with an open bracket or a port in letters."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts
