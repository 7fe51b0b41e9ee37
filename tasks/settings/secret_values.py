"""The secrets in the settings. A secret is a field of type SecretStr; this module finds them by walking the model."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from inspect import isclass
from typing import Any, get_args, get_origin
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tasks.settings.model import Settings
from tasks.settings.places import EACH, Place

_STORES = ("redis", "rediss", "unix", "postgresql", "sqlite")
_TOKEN_LENGTH = 10  # characters; shorter parts of a URL are words like `webhook`


@cache
def secret_fields(model: type[BaseModel] = Settings) -> dict[Place, FieldInfo]:
    """The place of every secret, in the order of the model, and the field that it is in.

    Looks into sections, Optional, Annotated, unions, lists and tables. EACH stands for every name or item in those.
    """
    return {
        place: found
        for name, info in model.model_fields.items()
        for place, found in _secrets_in(info.annotation, (name,), info)
    }


def _secrets_in(kind: Any, place: Place, info: FieldInfo) -> Iterator[tuple[Place, FieldInfo]]:
    if isclass(kind) and issubclass(kind, SecretStr):
        yield place, info
    elif isclass(kind) and issubclass(kind, BaseModel):
        yield from (((*place, *below), inner) for below, inner in secret_fields(kind).items())
    else:
        origin = get_origin(kind)
        holds_many = isclass(origin) and issubclass(origin, Mapping | Sequence | Set)
        for part in get_args(kind):
            yield from _secrets_in(part, (*place, EACH) if holds_many else place, info)


def exchange_keys() -> tuple[Place, ...]:
    """The places of the exchange's keys: what a process that sends nothing to the exchange must not have."""
    return tuple(place for place in secret_fields() if place[0] == "exchange")


def worker_only() -> tuple[Place, ...]:
    """The places of what only workers need: the exchange's keys, and all about alerts."""
    return (*exchange_keys(), ("alerts",))


def may_be_secret(place: Place) -> bool:
    """Whether the value at `place` is a secret, a part of one, or a table that holds one."""
    return any(all(name in (EACH, part) for name, part in zip(field, place, strict=False)) for field in secret_fields())


def secret_texts(settings: Settings) -> list[str]:
    """Every text that no log may show; see `hidden_texts`."""
    return hidden_texts(_secrets(settings))


def hidden_texts(secrets: Iterable[str]) -> list[str]:
    """Each secret, and the password and tokens of a secret URL, in every form of `_forms`."""
    texts = [text for secret in secrets for text in (secret, *_passwords(secret), *_tokens(secret)) if text]
    return list(dict.fromkeys(form for text in texts for form in _forms(text)))


def _forms(text: str) -> Iterator[str]:
    """The text itself, quoted for a URL, and escaped inside JSON or a Python literal."""
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text))
    yield from (json.dumps(text)[1:-1], repr(text)[1:-1])


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from (secret for name in type(value).model_fields for secret in _secrets(getattr(value, name)))
    elif isinstance(value, Mapping):
        yield from (secret for part in value.values() for secret in _secrets(part))
    elif isinstance(value, Sequence | Set) and not isinstance(value, str):
        yield from (secret for part in value for secret in _secrets(part))


def _tokens(text: str) -> Iterator[str]:
    """The parts of a web or service URL that may be its token: an error of a library may show one of them alone.

    Not of the URL of a Redis or a database: a path there is a file or a name, and no secret.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if not parts.scheme or not parts.netloc or parts.scheme.partition("+")[0] in _STORES:
        return
    named = re.split(r"[:@]", parts.netloc)
    values = [value for given in parse_qs(parts.query).values() for value in given]
    found = [*(one for one in named if "." not in one), *parts.path.split("/"), *values]
    yield from (one for one in found if len(one) >= _TOKEN_LENGTH)


def _passwords(text: str) -> Iterator[str]:
    """The password in a URL, as it is written there and as the server gets it; nothing where text is no URL."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if parts.password:
        yield from (parts.password, unquote(parts.password))
    yield from parse_qs(parts.query).get("password", [])
