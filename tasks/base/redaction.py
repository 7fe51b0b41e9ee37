"""Hides secrets in texts. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

_SHORTEST = 4  # characters of a secret; a shorter one would blank parts of ordinary words
_HIDDEN = "***"


class Redactor:
    """Replaces secrets by ***, except very short ones. The longest go first: one may be a part of another."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
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
