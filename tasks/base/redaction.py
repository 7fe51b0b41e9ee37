"""Hides secrets in texts: known ones wherever they are, and credentials in URLs and headers by their form. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_SHORTEST = 4  # characters of a secret; a shorter one would blank parts of ordinary words
_HIDDEN = "***"
_NAMES = "access_token|api_?key|apikey|auth|key|pass|password|passphrase|secret|sig|sign|signature|token"
_BY_FORM = (
    re.compile(r"(?<=://)(?P<keep>[^\s:/@?#]*:)[^\s/@?#]+(?=@)"),  # user:password@host
    re.compile(rf"(?P<keep>[?&;](?:{_NAMES})=)[^\s&;#\"']+", re.IGNORECASE),  # ?token=…
    re.compile(r"(?P<keep>/bot\d+:)[\w-]{8,}"),  # Telegram's Bot API
    re.compile(r"(?P<keep>\b(?:Bearer|Basic) )[\w.~+/=-]{8,}", re.IGNORECASE),
)


class Redactor:
    """Replaces secrets by ***, except very short ones. The longest go first: one may be a part of another."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for form in _BY_FORM:
            text = form.sub(rf"\g<keep>{_HIDDEN}", text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, in keys and values, at any depth. Other types become text."""
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        if isinstance(value, bool) or value is None:
            return value
        shown = self.text(str(value))
        return value if isinstance(value, int | float) and shown == str(value) else shown
